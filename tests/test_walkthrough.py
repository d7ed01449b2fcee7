"""The page on one's own data does what it says: its Python and its commands run, in order, with the output it shows."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

import pfmsmtrec_flwr
from pfmsmtrec_flwr import cli
from pfmsmtrec_flwr.data.schema.document import load_schema
from pfmsmtrec_flwr.data.store.listing import list_scenarios
from pfmsmtrec_flwr.data.store.reader import ScenarioStore

PAGE = Path(pfmsmtrec_flwr.__file__).resolve().parent.parent / "docs" / "your-own-data.md"
FILE_MARK = re.compile(r"# ([\w-]+\.yaml)\n")


def blocks() -> list[tuple[str, str]]:
    """Language and contents of the page's fenced blocks."""
    return re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0, words


def test_the_page_runs_from_top_to_bottom(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "walkthrough"}
    printed, commands, shown = "", [], []
    for language, block in blocks():
        if language == "python":
            exec(compile(block, PAGE.name, "exec"), names)
        elif language == "sh":
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                assert words[0] == "pfmsmtrec"
                run(words, monkeypatch)
                commands.append(words[1])
            printed = capsys.readouterr().out
        elif language == "yaml" and (named := FILE_MARK.match(block)) is not None:
            (folder / named[1]).write_text(block)
        elif language == "yaml":
            assert (folder / "shop.yaml").read_text() == block
            shown.append(block)
        else:  # what the commands before it print, shortened
            for line in block.splitlines():
                assert line == "..." or without_figures(line) in without_figures(printed), line
    assert commands == ["data", "prepare", "data", "run", "prepare"]
    assert len(shown) == 1

    assert set(yaml.safe_load(shown[0])["fields"]) - set(load_schema("shop.yaml").fields) == {"seconds_watched"}
    together = home / ".pfmsmtrec" / "data" / "shop"
    assert [store.scenario for store in list_scenarios(together.parent, "shop")] == ["DE", "ES", "NL"]
    own, same = (ScenarioStore.open(root / "NL").folder for root in (Path("at-nl") / "shop", together))
    assert contents(own) == contents(same)
    assert ScenarioStore.open(together / "NL").tasks == ("clicked", "ordered")


def without_figures(text: str) -> str:
    """Without what differs between machines: figures of a training, and white space that aligns."""
    return re.sub(r"\d\.\d{4}", "#", re.sub(r" +", " ", text))


def contents(store: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in store.iterdir()}
