"""Tables of a run, of a comparison and of a report."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from compared import finished_of, run_results
from hypothesis import given
from hypothesis import strategies as st
from reported import RunMaker
from rich.console import Console

from pfmsmtrec_flwr.results.bootstrap import Bootstrap, Leaders, PairedDifference
from pfmsmtrec_flwr.results.compact import compact_run_tables
from pfmsmtrec_flwr.results.drawn import drawn_differences, with_intervals
from pfmsmtrec_flwr.results.frame import Figures
from pfmsmtrec_flwr.results.intervals import interval_notes, p_cell
from pfmsmtrec_flwr.results.missing import MissingResult
from pfmsmtrec_flwr.results.overviews import (
    comparison_tables,
    cost_table,
    data_table,
    differences_table,
    file_name,
    gap_closed,
    joining_table,
    means_table,
    measure_tables,
    ranking_table,
    run_table,
)
from pfmsmtrec_flwr.results.rendering import as_markdown, as_text, rich_table
from pfmsmtrec_flwr.results.schema import (
    AttainableResult,
    Examples,
    RunResults,
    ScenarioResult,
    TaskResult,
    results_from,
)
from pfmsmtrec_flwr.results.summarizing import Finished, figures_of, summarize
from pfmsmtrec_flwr.results.summary import Joined, Summary
from pfmsmtrec_flwr.results.tables import LEVELS, FigureTable

TaskFigures = dict[str, tuple[float | None, float | None]]


def run(
    method: str, figures: dict[str, TaskFigures], *, best: bool = False, reference: tuple[str, ...] = ()
) -> RunResults:
    scenarios = {
        name: ScenarioResult(
            examples=Examples(train=80, validation=10, test=10),
            selected_round=2,
            tasks={
                task: TaskResult(auc=auc, logloss=loss, positives=1, examples=10) for task, (auc, loss) in tasks.items()
            },
        )
        for name, tasks in figures.items()
    }
    attainable = {
        "NL": {"ctr": AttainableResult(auc=0.7, logloss=0.1)},
        "US": {"ctr": AttainableResult(auc=0.9, logloss=0.2)},
    }
    return results_from(
        method=method,
        dataset="synthetic",
        seed=1,
        rounds=12,
        scenarios=scenarios,
        best_attainable=attainable if best else None,
        reference=reference,
    )


FULL = [
    run(
        "pf-msmtrec",
        {"NL": {"ctr": (0.65, 0.11), "ctcvr": (None, 0.01)}, "US": {"ctr": (0.75, 0.22)}},
        best=True,
        reference=("alone",),
    ),
    run("alone", {"NL": {"ctr": (0.6, 0.12), "ctcvr": (None, 0.02)}, "US": {"ctr": (0.8, 0.21)}}),
]
TITLE = "pf-msmtrec against alone on synthetic, test data, seed 1, 12 rounds"


def test_the_plain_table() -> None:
    assert as_text(run_table(FULL)) == (
        f"{TITLE}\n\n"
        "                        AUC     AUC     AUC     gap    log loss  log loss  log loss\n"
        "scenario  task   pf-msmtrec   alone    best  closed  pf-msmtrec     alone      best\n"
        "-----------------------------------------------------------------------------------\n"
        "NL        ctr        0.6500  0.6000  0.7000     50%      0.1100    0.1200    0.1000\n"
        "NL        ctcvr         n/a     n/a     n/a     n/a      0.0100    0.0200       n/a\n"
        "US        ctr        0.7500  0.8000  0.9000    -50%      0.2200    0.2100    0.2000\n"
        "-----------------------------------------------------------------------------------\n"
        "mean      ctr        0.7000  0.7000  0.8000      0%      0.1650    0.1650    0.1500\n"
        "mean      ctcvr         n/a     n/a     n/a     n/a      0.0100    0.0200       n/a"
    )


def test_the_plain_table_of_one_method_and_one_scenario() -> None:
    assert as_text(run_table([run("fedavg", {"tab0": {"is_click": (0.61234, 0.5)}})])) == (
        "fedavg on synthetic, test data, seed 1, 12 rounds\n\n"
        "                       AUC  log loss\n"
        "scenario  task      fedavg    fedavg\n"
        "------------------------------------\n"
        "tab0      is_click  0.6123    0.5000"
    )


def test_the_plain_table_with_intervals() -> None:
    own, alone = FULL
    drawn = {"NL": {"ctr": np.linspace(0.6, 0.7, 41)}, "US": {"ctr": np.linspace(0.7, 0.8, 41)}}
    own = with_intervals(own, drawn)
    theirs = {"NL": {"ctr": np.linspace(0.61, 0.69, 41)}, "US": {"ctr": np.linspace(0.7, 0.8, 41)}}
    own = own.model_copy(update={"differences": list(drawn_differences(own, drawn, [(alone, theirs)]))})
    table = run_table([own, alone])
    assert table.heads[-1] == "95 % interval\npf-msmtrec"
    intervals = [str(row[-1]) for row in table.rows]
    assert intervals == ["[0.6025, 0.6975]", "n/a", "[0.7025, 0.7975]", "[0.6525, 0.7475]", "n/a"]
    assert table.notes == (
        "95 % interval: of the AUC of pf-msmtrec, over 41 draws of test users (rows where there are none)",
        "AUC of alone less that of pf-msmtrec, same draws: ctr +0.0000 [-0.0048, +0.0048]",
    )
    assert [row[:-1] for row in table.rows] == list(run_table(FULL).rows)


def test_the_markdown_table() -> None:
    assert as_markdown(run_table(FULL[:1])) == (
        "pf-msmtrec on synthetic, test data, seed 1, 12 rounds.\n\n"
        "| scenario | task | AUC pf-msmtrec | AUC best | log loss pf-msmtrec | log loss best |\n"
        "| --- | --- | ---: | ---: | ---: | ---: |\n"
        "| NL | ctr | 0.6500 | 0.7000 | 0.1100 | 0.1000 |\n"
        "| NL | ctcvr | n/a | n/a | 0.0100 | n/a |\n"
        "| US | ctr | 0.7500 | 0.9000 | 0.2200 | 0.2000 |\n"
        "| mean | ctr | 0.7000 | 0.8000 | 0.1650 | 0.1500 |\n"
        "| mean | ctcvr | n/a | n/a | 0.0100 | n/a |\n"
    )
    lines = as_markdown(run_table(FULL)).splitlines()
    assert "| gap closed |" in lines[2]
    assert lines[4].startswith("| NL | ctr | **0.6500** | 0.6000 | 0.7000 | 50% | **0.1100** |")


def test_the_terminal_table_shows_the_same_cells_and_marks_the_better_figure() -> None:
    table = rich_table(run_table(FULL))
    shown = [[str(cell) for cell in column.cells] for column in table.columns]
    expected = [[str(cell) for cell in row] for row in run_table(FULL).rows]
    assert [list(row) for row in zip(*shown, strict=True)] == expected
    ours, alone = list(table.columns[2].cells), list(table.columns[3].cells)
    assert [getattr(cell, "style", None) for cell in ours] == ["bold green", "", "", "bold green", ""]
    assert [getattr(cell, "style", None) for cell in alone] == ["", "", "bold green", "bold green", ""]
    printed = io.StringIO()
    Console(width=100, file=printed).print(table)
    assert printed.getvalue().startswith(TITLE)


def cells(table: FigureTable, row: int) -> list[str]:
    return [str(cell) for cell in table.rows[row][table.words :]]


def test_a_mean_over_fewer_scenarios_than_the_others_is_not_shown() -> None:
    diverged = run("fedavg", {"NL": {"ctr": (0.9, None)}, "US": {"ctr": (0.9, 0.1)}})
    whole = run("alone", {"NL": {"ctr": (0.6, 0.5)}, "US": {"ctr": (0.8, 0.1)}})
    assert cells(run_table([diverged, whole]), -1) == ["0.9000", "0.7000", "n/a", "0.3000"]


def test_a_scenario_that_a_reference_method_lacks_is_not_available() -> None:
    ours = run("fedavg", {"NL": {"ctr": (0.9, 0.2)}, "US": {"ctr": (0.9, 0.1)}})
    table = run_table([ours, run("alone", {"NL": {"ctr": (0.6, 0.5)}})])
    assert cells(table, 1) == ["0.9000", "n/a", "0.1000", "n/a"]


@pytest.mark.parametrize(
    ("auc", "baseline", "best", "share"),
    [(0.65, 0.6, 0.7, 0.5), (0.55, 0.6, 0.7, -0.5), (0.8, 0.7, 0.7, None), (None, 0.6, 0.7, None)],
)
def test_gap_closed(auc: float | None, baseline: float, best: float, share: float | None) -> None:
    assert gap_closed(auc, baseline, best) == share


@given(st.floats(0.5, 0.7), st.floats(0.71, 1.0))
def test_the_baseline_closes_nothing_and_the_best_all(baseline: float, best: float) -> None:
    assert gap_closed(baseline, baseline, best) == 0
    assert gap_closed(best, baseline, best) == 1


@pytest.fixture(scope="module")
def finished() -> list[Finished]:
    alone = {
        seed: run_results("alone", seed, {"A": {"ctr": auc}, "B": {"ctr": 0.6}}, family="alone")
        for seed, auc in ((0, 0.60), (1, 0.62))
    }
    ours = {
        seed: run_results("ours", seed, {"A": {"ctr": auc}, "B": {"ctr": 0.7}}, traffic=(2_000_000, 1_000_000))
        for seed, auc in ((0, 0.66), (1, 0.68))
    }
    return [finished_of("alone", alone, trials=3), finished_of("ours", ours)]


STARTS: tuple[tuple[float, Literal["consensus", "scratch"], float], ...] = (
    (0.01, "consensus", 0.58),
    (0.01, "scratch", 0.52),
)


BOOTSTRAP = Bootstrap(
    draws=1000,
    units=12,
    unit="users",
    differences=[
        PairedDifference(
            variant="alone",
            other="ours",
            task="ctr",
            seeds=2,
            difference=-0.08,
            low=-0.09,
            high=-0.07,
            error=0.005,
            p=0.001,
            p_holm=0.001,
        )
    ],
    leaders=[
        Leaders(task="ctr", variants=["ours"]),
        Leaders(task="ctr", scenario="A", variants=[]),
        Leaders(task="ctr", scenario="B", variants=["ours"]),
    ],
    smallest={"ctr": 0.014},
)
NOTES_OF_INTERVALS = [
    "differences: 95 % intervals and p by a paired bootstrap, 1000 draws of 12 test users for all methods, seeds and "
    "scenarios at once; Holm's correction is for all methods and tasks",
    "smallest difference that these test rows can show (80 % power at 5 %, median over methods): ctr 0.0140",
    "p over seeds: paired t-test, which speaks of the noise of training alone; not printed for fewer than 5 seeds",
    "bold: the first by AUC, and all whose interval of the difference to it contains 0; none where that is all",
]
NOTES = [f"{note}." for note in ["a note", *NOTES_OF_INTERVALS]]


@pytest.fixture(scope="module")
def summary(finished: list[Finished]) -> Summary:
    joined = [
        Joined(method="ours", scenario="A", share=share, start=start, task="ctr", seed=seed, auc=auc, logloss=0.5)
        for share, start, auc in STARTS
        for seed in (0, 1)
    ]
    summary = summarize(finished, "ours", joined=joined, notes=["a note"])
    return summary.model_copy(update={"bootstrap": BOOTSTRAP})


def test_the_means_as_text(summary: Summary) -> None:
    lines = as_text(means_table(summary)).splitlines()
    assert lines == [
        "made: means over scenarios on test rows, mean ± sd over 2 seeds",
        "",
        "task  method  family     parameters                AUC  worst scenario         log loss        GAUC (coverage)"
        "    calibration          difference to ours  p (Holm)  win/tie/loss to ours  p over seeds (Holm)  over alone"
        "           MB    seconds  trials",
        "-" * len(lines[2]),
        "ctr   alone   alone      personalised  0.6050 ± 0.0071      0.6000 (B)  0.3950 ± 0.0071  0.5050 ± 0.0071 (50%)"
        "  1.000 ± 0.000  -0.0800 [-0.0900, -0.0700]    0.0010                 0/0/2                  n/a       +0.0%"
        "  0.00 ± 0.00  2.0 ± 0.0       3",
        "ctr   ours    federated  personalised  0.6850 ± 0.0071      0.6700 (A)  0.3150 ± 0.0071  0.5850 ± 0.0071 (50%)"
        f"  1.000 ± 0.000{'+76.2%':>93}"
        "  3.00 ± 0.00  2.0 ± 0.0       0",
        "",
        *NOTES,
    ]


def test_without_predictions_there_is_no_interval_and_nothing_is_bold(
    summary: Summary, finished: list[Finished]
) -> None:
    before = summary.model_copy(update={"bootstrap": None})
    means, scenarios = comparison_tables(before, figures_of(finished))[:2]
    assert [str(row[9]) for row in means.rows] == ["-0.0800, no interval", ""]
    assert [str(row[10]) for row in means.rows] == ["n/a", ""]
    assert not any(cell.best for table in (means, scenarios) for row in table.rows for cell in row)
    missing = "no interval: the runs left no predictions; run them again, with --fresh or into a new folder"
    assert means.notes == scenarios.notes == ("a note", missing)


def test_from_five_seeds_on_the_test_over_seeds_is_printed() -> None:
    runs = {
        method: {seed: run_results(method, seed, {"A": {"ctr": auc + seed / 100}}) for seed in range(5)}
        for method, auc in (("alone", 0.6), ("ours", 0.65))
    }
    runs["ours"][4] = run_results("ours", 4, {"A": {"ctr": 0.65}})
    (row, _) = means_table(summarize([finished_of(*each) for each in runs.items()], "ours")).rows
    assert 0 < float(row[12].text) < 0.05


def test_the_differences_side_by_side(summary: Summary) -> None:
    table = differences_table(summary)
    assert table.heads == ("method", "AUC, ctr", "difference to ours, ctr", "p (Holm), ctr")
    assert [[str(cell) for cell in row] for row in table.rows] == [
        ["alone", "0.6050 ± 0.0071", "-0.0800 [-0.0900, -0.0700]", "0.0010"],
        ["ours", "0.6850 ± 0.0071", "", ""],
    ]
    assert [row[1].best for row in table.rows] == [False, True]
    assert table.notes == tuple(NOTES_OF_INTERVALS)
    changed = summary.model_copy(
        update={"variants": [each.model_copy(update={"what": f"{each.name} less"}) for each in summary.variants]}
    )
    assert [[str(cell) for cell in row][:2] for row in differences_table(changed).rows] == [
        ["alone", "alone less"],
        ["ours", "ours less"],
    ]


def test_a_p_value_is_never_shown_as_zero() -> None:
    assert [p_cell(p).text for p in (0.00002, 0.0001, 0.04, None)] == ["<0.0001", "0.0001", "0.0400", "n/a"]


def test_a_variant_without_predictions_is_named(summary: Summary) -> None:
    assert summary.bootstrap is not None
    bootstrap = summary.bootstrap.model_copy(update={"missing": ["alone"]})
    notes = interval_notes(summary.model_copy(update={"bootstrap": bootstrap}))
    assert "no interval for alone: a run left no predictions" in notes


def test_the_scenarios_as_markdown(summary: Summary, finished: list[Finished]) -> None:
    scenarios = comparison_tables(summary, figures_of(finished))[1]
    assert as_markdown(scenarios).splitlines() == [
        "made: AUC on test rows, mean ± sd over 2 seeds.",
        "",
        "| scenario | task | alone | ours |",
        "| --- | --- | ---: | ---: |",
        "| A | ctr | 0.6100 ± 0.0141 | 0.6700 ± 0.0141 |",
        "| B | ctr | 0.6000 ± 0.0000 | **0.7000 ± 0.0000** |",
        "| mean | ctr | 0.6050 ± 0.0071 | **0.6850 ± 0.0071** |",
        "",
        "a note.",
        NOTES[-1],
    ]


def test_joining_sets_the_starts_side_by_side(summary: Summary, finished: list[Finished]) -> None:
    table = joining_table(summary)
    assert [[str(cell) for cell in row] for row in table.rows] == [
        ["ours", "A", "ctr", "1%", "0.5800 ± 0.0000", "0.5200 ± 0.0000"]
    ]
    figures = figures_of(finished)
    names = ["means", "scenarios", "differences", "joining"]
    assert [each.name for each in comparison_tables(summary, figures)] == names
    nobody = summary.model_copy(update={"joined": [], "bootstrap": None})
    assert [each.name for each in comparison_tables(nobody, figures)] == ["means", "scenarios"]


@pytest.fixture(scope="module")
def figures() -> Figures:
    return RunMaker(Path()).figures()


def shown(table: FigureTable) -> dict[tuple[str, ...], list[str]]:
    rows = [[cell.text for cell in row] for row in table.rows]
    return {tuple(row[: table.words]): row[table.words :] for row in rows}


def test_the_auc_of_lines_by_scenario_and_task(figures: Figures) -> None:
    ctr, ctcvr = measure_tables(figures, "auc")
    assert (ctr.name, ctr.heads[2:]) == ("auc-ctr", ("NL", "US", "mean"))
    assert [group.name for group in ctr.groups] == ["floor", "alone", "federated", "attainable"]
    assert shown(ctr) == {
        ("base-rate", "global"): ["0.6000", "0.4000", "0.5000"],
        ("alone", "personalised"): ["0.7000", "0.5000", "0.6000"],
        ("fedavg", "global"): ["0.7500", "0.5500", "0.6500"],
        ("pf-msmtrec", "personalised"): ["0.8000", "0.6000", "0.7000"],
        ("pf-msmtrec", "consensus"): ["0.7500", "0.5500", "0.6500"],
        ("best attainable", "true probabilities"): ["0.8750", "0.8750", "0.8750"],
    }
    assert shown(ctcvr)["alone", "personalised"] == ["0.6000", "n/a", "0.6000"]


def test_the_shade_tells_where_a_cell_lies_between_worst_and_best(figures: Figures) -> None:
    leaders = [Leaders(task="ctr", scenario="NL", variants=["pf-msmtrec"])]
    bootstrap = BOOTSTRAP.model_copy(update={"leaders": leaders})
    column = [row[2] for row in next(measure_tables(figures, "auc", bootstrap)).rows]
    assert [cell.level for cell in column] == [0, 4, 6, LEVELS - 1, 6, None]
    assert [cell.best for cell in column] == [False, False, False, True, False, False]
    assert [cell.sd for cell in column] == ["", "0.0141", "0.0141", "0.0141", "0.0141", ""]


def test_a_column_of_equals_and_one_without_a_better_side_have_no_shade(figures: Figures) -> None:
    for metric in ("logloss", "calibration"):
        table = next(measure_tables(figures, metric))
        assert {cell.level for row in table.rows for cell in row} == {None}
    assert table.heads[2:] == ("NL", "US")  # a mean of ratios would say nothing
    assert shown(table)["alone", "personalised"] == ["1.1250", "1.1250"]


def test_the_coverage_stands_below_the_gauc(figures: Figures) -> None:
    table = next(measure_tables(figures, "gauc"))
    assert shown(table)["share of impressions that count", ""] == ["50.0%", "50.0%", ""]


def test_the_ranking_by_task(figures: Figures) -> None:
    table = ranking_table(figures)
    assert table.heads[2:] == ("ctr", "place, ctr", "ctcvr", "place, ctcvr", "seeds")
    assert shown(table)["pf-msmtrec", "personalised"] == ["0.7000", "1", "0.7000", "1", "2"]
    assert shown(table)["base-rate", "global"] == ["0.5000", "5", "0.5000", "5", "1"]


def test_the_cost_of_a_run(figures: Figures) -> None:
    assert shown(cost_table(figures)) == {
        ("base-rate",): ["3.0", "0.0", "0.0", "0.0", "0.00", "0.00"],
        ("alone",): ["3.0", "0.0", "0.0", "0.0", "0.00", "0.00"],
        ("fedavg",): ["3.0", "0.0", "0.0", "0.0", "2.00", "3.00"],
        ("pf-msmtrec",): ["3.0", "12.5", "9.2", "0.0", "2.00", "3.00"],
    }


def test_the_size_of_the_data(figures: Figures) -> None:
    assert shown(data_table(figures)) == {
        ("NL",): ["800", "90", "100", "30", "7"],
        ("US",): ["800", "90", "100", "30", "0"],
    }


def test_the_size_of_the_data_counts_labelled_rows() -> None:
    results = run("fedavg", {"NL": {"ctr": (0.6, 0.1), "ctcvr": (0.7, 0.1)}, "US": {"ctr": (0.6, 0.1)}})
    own = results.scenarios["NL"].tasks
    own["ctcvr"] = own["ctcvr"].model_copy(update={"examples": 60})
    table = data_table(Figures({"fedavg": [results]}))
    assert table.heads[-2:] == ("positives of ctcvr in test", "rows with a label of ctcvr in test")
    assert [row[-1] for row in shown(table).values()] == ["60", "n/a"]


@pytest.mark.parametrize("metric", ["auc", "logloss", "gauc", "calibration"])
def test_every_line_of_a_table_fills_its_columns(figures: Figures, metric: str) -> None:
    for table in measure_tables(figures, metric):  # type: ignore[arg-type]
        assert {len(row) for row in table.rows} == {len(table.heads)}


@pytest.mark.parametrize(
    ("parts", "name"),
    [(("learning", "NL"), "learning-NL"), (("auc", "a/b c"), "auc-a-b-c"), (("x", "v1.5_é"), "x-v1.5_é")],
)
def test_file_names(parts: tuple[str, ...], name: str) -> None:
    assert file_name(*parts) == name


def test_means_over_fewer_scenarios_say_so_beside_the_figure() -> None:
    missing = {"ES": MissingResult(rounds=[2, 3], since=2, tested=False), "FR": MissingResult(rounds=[1], tested=True)}
    figures: dict[str, TaskFigures] = {"FR": {"ctr": (0.5, 0.3)}, "NL": {"ctr": (0.75, 0.3)}}
    whole = run("alone", figures | {"ES": {"ctr": (0.25, 0.3)}})
    fewer = run("fedavg", figures)
    fewer = results_from(method="fedavg", dataset="made", seed=0, rounds=3, scenarios=fewer.scenarios, missing=missing)
    assert (fewer.macro["ctr"].auc, fewer.macro["ctr"].note) == (0.625, "over FR, NL, without ES")
    table = run_table([fewer])
    assert [cell.text for cell in table.rows[-1]][:3] == ["mean of 2 of 3", "ctr", "0.6250"]
    assert table.notes == (
        "fedavg: ES missing since round 2 of 3, without test figures",
        "fedavg: FR missed round 1 of 3",
        "fedavg: means over FR, NL, without ES",
    )
    beside = run_table([fewer, whole])
    assert [cell.text for cell in beside.rows[-1]][:4] == ["mean", "ctr", "n/a", "0.5000"]
    (compact,) = compact_run_tables([fewer])
    assert compact.rows[0][0].text == "fedavg (2 of 3 scenarios)"
    assert "missing" not in whole.model_dump() and "note" not in whole.macro["ctr"].model_dump()
