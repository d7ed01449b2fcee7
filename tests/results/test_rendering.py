from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pfmsmtrec_flwr.results.rendering import (
    as_csv,
    as_latex,
    as_markdown,
    as_text,
    rich_table,
    show_table,
    write_tables,
)
from pfmsmtrec_flwr.results.tables import Cell, FigureTable, Group

SMALL = FigureTable(
    "small",
    "100% small",
    ("method", "model", "a_b", "gap\nclosed"),
    2,
    (
        Group("alone", ((Cell("x, y"), Cell("global"), Cell("0.5", "0.1", 8, best=True), Cell("n/a")),)),
        Group("federated", ((Cell("z"), Cell("global"), Cell("0.4"), Cell("2%")),)),
    ),
    ("seen",),
)


def test_text_has_a_rule_between_groups_and_stacks_a_heading() -> None:
    assert as_text(SMALL).splitlines() == [
        "100% small",
        "",
        "                                         gap",
        "family     method  model         a_b  closed",
        "--------------------------------------------",
        "alone      x, y    global  0.5 ± 0.1     n/a",
        "--------------------------------------------",
        "federated  z       global        0.4      2%",
        "",
        "seen.",
    ]


def test_markdown_has_the_best_in_bold() -> None:
    assert as_markdown(SMALL).splitlines() == [
        "100% small.",
        "",
        "| family | method | model | a_b | gap closed |",
        "| --- | --- | --- | ---: | ---: |",
        "| alone | x, y | global | **0.5 ± 0.1** | n/a |",
        "| federated | z | global | 0.4 | 2% |",
        "",
        "seen.",
    ]


def test_csv_has_the_deviations_apart() -> None:
    assert list(csv.reader(io.StringIO(as_csv(SMALL)))) == [
        ["family", "method", "model", "a_b", "a_b sd", "gap closed"],
        ["alone", "x, y", "global", "0.5", "0.1", "n/a"],
        ["federated", "z", "global", "0.4", "", "2%"],
    ]


def test_latex_is_escaped_and_has_the_best_in_bold() -> None:
    assert as_latex(SMALL).splitlines() == [
        "% 100% small",
        "% seen",
        r"\begin{tabular}{llrr}",
        r"\toprule",
        r"method & model & a\_b & gap closed \\",
        r"\midrule",
        r"x, y & global & \textbf{0.5} \,$\pm$\,0.1 & n/a \\",
        r"\midrule",
        r"z & global & 0.4 & 2\% \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_a_bar_does_not_break_markdown() -> None:
    table = FigureTable("t", "a title", ("method",), 1, (Group("", ((Cell("a|b"),),)),))
    assert "| a/b |" in as_markdown(table)


def test_the_terminal_shows_words_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    rows = ((Cell("[bold]x"), Cell("0.5", "0.1")),)
    table = FigureTable("t", "[blue]title", ("method", "AUC"), 1, (Group("", rows),), ("[red]note",))
    Console(width=80).print(rich_table(table))
    shown = capsys.readouterr().out
    for expected in ("[blue]title", "[bold]x", "0.5 ± 0.1", "[red]note"):
        assert expected in shown


def test_a_terminal_has_its_own_form_and_a_pipe_is_as_wide_as_need_be() -> None:
    pipe = Console(file=io.StringIO(), width=10)
    show_table(SMALL, pipe)
    assert pipe.file.getvalue() == f"{as_text(SMALL)}\n\n"  # type: ignore[attr-defined]
    terminal = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="truecolor", _environ={})
    show_table(SMALL, terminal)
    assert "\x1b[1;32m0.5 ± 0.1" in terminal.file.getvalue()  # type: ignore[attr-defined]


def test_every_table_is_written_in_every_form(tmp_path: Path) -> None:
    write_tables([SMALL, replace(SMALL, name="other")], tmp_path / "tables")
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        f"{name}.{ending}" for name in ("small", "other") for ending in ("md", "csv", "tex")
    }
    assert (tmp_path / "tables" / "small.md").read_text() == as_markdown(SMALL)
