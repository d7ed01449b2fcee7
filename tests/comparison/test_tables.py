from __future__ import annotations

import csv
from pathlib import Path

import pytest
from compared import run_results
from rich.console import Console

from pfmsmtrec_flwr.comparison import tables
from pfmsmtrec_flwr.comparison.summarizing import Finished, summarize
from pfmsmtrec_flwr.comparison.summary import Joined, Summary
from pfmsmtrec_flwr.comparison.tables import Cell, Table
from pfmsmtrec_flwr.comparison.variants import Variant


@pytest.fixture(scope="module")
def summary() -> Summary:
    alone = {
        seed: run_results("alone", seed, {"A": {"ctr": auc}, "B": {"ctr": 0.6}}, family="alone")
        for seed, auc in ((0, 0.60), (1, 0.62))
    }
    ours = {
        seed: run_results("ours", seed, {"A": {"ctr": auc}, "B": {"ctr": 0.7}}, traffic=(2_000_000, 1_000_000))
        for seed, auc in ((0, 0.66), (1, 0.68))
    }
    joined = [
        Joined(method="ours", scenario="A", share=share, start=start, task="ctr", seed=seed, auc=auc, logloss=0.5)
        for share, start, auc in ((0.01, "consensus", 0.58), (0.01, "scratch", 0.52))
        for seed in (0, 1)
    ]
    return summarize(
        [Finished(Variant("alone", "alone"), alone, trials=3), Finished(Variant("ours", "ours"), ours)],
        "ours",
        joined=joined,
        notes=["a note"],
    )


def test_the_means_as_text(summary: Summary) -> None:
    lines = tables.text(tables.means(summary)).splitlines()
    assert lines == [
        "made: means over scenarios on test rows, mean ± sd over 2 seeds",
        "",
        "task  method  family     parameters                AUC  worst scenario         log loss        GAUC (coverage)"
        "    calibration  win/tie/loss to ours  p (Holm)  over alone           MB    seconds  trials",
        "-" * len(lines[2]),
        "ctr   alone   alone      personalised  0.6050 ± 0.0071      0.6000 (B)  0.3950 ± 0.0071  0.5050 ± 0.0071 (50%)"
        "  1.000 ± 0.000                 0/0/2    0.0000       +0.0%  0.00 ± 0.00  2.0 ± 0.0       3",
        "ctr   ours    federated  personalised  0.6850 ± 0.0071      0.6700 (A)  0.3150 ± 0.0071  0.5850 ± 0.0071 (50%)"
        "  1.000 ± 0.000                                      +76.2%  3.00 ± 0.00  2.0 ± 0.0       0",
        "",
        "a note.",
    ]


def test_the_scenarios_as_markdown(summary: Summary) -> None:
    assert tables.markdown(tables.scenarios(summary)).splitlines() == [
        "made: AUC on test rows, mean ± sd over 2 seeds.",
        "",
        "| scenario | task | alone | ours |",
        "| --- | --- | ---: | ---: |",
        "| A | ctr | 0.6100 ± 0.0141 | 0.6700 ± 0.0141 |",
        "| B | ctr | 0.6000 ± 0.0000 | 0.7000 ± 0.0000 |",
        "",
        "a note.",
    ]


def test_joining_sets_the_starts_side_by_side(summary: Summary) -> None:
    table = tables.joining(summary)
    assert [[str(cell) for cell in row] for row in table.rows] == [
        ["ours", "A", "ctr", "1%", "0.5800 ± 0.0000", "0.5200 ± 0.0000"]
    ]
    assert [each.name for each in tables.tables(summary)] == ["means", "scenarios", "joining"]
    assert [each.name for each in tables.tables(summary.model_copy(update={"joined": []}))] == ["means", "scenarios"]


def test_csv_has_the_deviations_apart(summary: Summary) -> None:
    rows = list(csv.reader(tables.as_csv(tables.scenarios(summary)).splitlines()))
    assert rows == [
        ["scenario", "task", "alone", "alone sd", "ours", "ours sd"],
        ["A", "ctr", "0.6100", "0.0141", "0.6700", "0.0141"],
        ["B", "ctr", "0.6000", "0.0000", "0.7000", "0.0000"],
    ]


def test_latex_is_escaped() -> None:
    table = Table("t", "a title", ("me_thod", "AUC"), 1, ((Cell("50% & more"), Cell("0.5", "0.1")),), ("seen",))
    assert tables.latex(table).splitlines() == [
        "% a title",
        "% seen",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"me\_thod & AUC \\",
        r"\midrule",
        r"50\% \& more & 0.5 \,$\pm$\,0.1 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_a_bar_does_not_break_markdown() -> None:
    table = Table("t", "a title", ("method",), 1, ((Cell("a|b"),),))
    assert "| a/b |" in tables.markdown(table)


def test_the_terminal_shows_words_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("t", "a title", ("method", "AUC"), 1, ((Cell("[bold]x"), Cell("0.5", "0.1")),), ("[red]note",))
    Console(width=80).print(tables.rich_table(table))
    shown = capsys.readouterr().out
    for expected in ("a title", "[bold]x", "0.5 ± 0.1", "[red]note"):
        assert expected in shown


def test_every_table_is_written_in_every_form(summary: Summary, tmp_path: Path) -> None:
    folder = tables.write_tables(summary, tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{ending}" for name in ("means", "scenarios", "joining") for ending in ("md", "csv", "tex")
    }
    assert (folder / "means.md").read_text() == tables.markdown(tables.means(summary))
