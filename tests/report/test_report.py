from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from reported import RunMaker

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.report import write_report


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^got the format 'gif', expected some of svg,png,pdf$"):
        write_report(tmp_path, tmp_path / "report.html", tmp_path / "figures", ["svg", "gif"])


def test_missing_packages_are_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = find_spec("jinja2")
    monkeypatch.setattr("pfmsmtrec_flwr.report.find_spec", lambda name: known if name == "jinja2" else None)
    with pytest.raises(UserError, match=r"^a report needs matplotlib: pip install 'pfmsmtrec-flwr\[report\]'$"):
        write_report(tmp_path, tmp_path / "report.html", tmp_path / "figures", ["svg"])


def test_the_command_writes_beside_the_results(
    pfmsmtrec: Callable[..., int], maker: RunMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = maker.write(maker.results("alone", 0.6, family="alone"), maker.root / "run")
    (folder / "metrics.jsonl").unlink()
    assert pfmsmtrec("report", folder, "--format", "svg, pdf") == 0
    assert capsys.readouterr().out == f"report: {folder / 'report.html'}\n"
    assert sorted(file.name for file in (folder / "figures").iterdir()) == [
        "ranking-ctcvr.pdf",
        "ranking-ctcvr.svg",
        "ranking-ctr.pdf",
        "ranking-ctr.svg",
    ]


def test_the_command_writes_where_it_is_told(pfmsmtrec: Callable[..., int], maker: RunMaker) -> None:
    folder = maker.write(maker.results("alone", 0.6, family="alone"), maker.root / "run")
    (folder / "metrics.jsonl").unlink()
    assert pfmsmtrec("report", folder, "--output", "there/page.html", "--figures", "there", "--format", "svg") == 0
    there = maker.root / "here" / "there"
    assert {file.name for file in there.iterdir()} == {"page.html", "tables", "ranking-ctr.svg", "ranking-ctcvr.svg"}


def test_a_folder_without_results_is_a_line(
    pfmsmtrec: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pfmsmtrec("report", tmp_path) == 1
    assert capsys.readouterr().err.startswith(f"error: no results.json in {tmp_path}: give the output folder")
