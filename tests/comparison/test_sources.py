from __future__ import annotations

from pathlib import Path

from pfmsmtrec_flwr.comparison.sources import ASIDE, digest_of_sources, package_sources, sources_of

SOURCE = '"""Text."""\n\ndef train(rate):\n    """Train."""\n    return rate + 1\n'


def digest(package: Path, source: str, name: str = "training/a.py") -> str:
    path = package / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    return digest_of_sources(package)


def test_comments_layout_and_docstrings_do_not_count(tmp_path: Path) -> None:
    one = digest(tmp_path, SOURCE)
    assert digest(tmp_path, '"""Other."""\n# a comment\ndef train(rate):\n\n    return (rate + 1)\n') == one
    assert digest(tmp_path, SOURCE.replace("1", "2")) != one
    assert digest(tmp_path, SOURCE) == one


def test_rooms_on_which_no_figure_depends_do_not_count(tmp_path: Path) -> None:
    one = digest(tmp_path, SOURCE)
    for room in ASIDE:
        assert digest(tmp_path, SOURCE, f"{room}/b.py") == one
    assert digest(tmp_path, SOURCE, "config.py") != one
    assert digest(tmp_path, "", "config.py") != digest(tmp_path, "", "methods/b.py")


def test_a_folder_may_not_say_what_made_it(tmp_path: Path) -> None:
    assert sources_of(tmp_path) == ""
    assert len(package_sources()) == 16
