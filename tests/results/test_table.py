from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.schema import (
    Attainable,
    Examples,
    RunResults,
    ScenarioResult,
    TaskResult,
    results_from,
)
from pfmsmtrec_flwr.results.table import Comparison, gap_closed, markdown, rich_table, text, title
from pfmsmtrec_flwr.results.writer import write_results

Figures = dict[str, tuple[float | None, float | None]]


def run(method: str, figures: dict[str, Figures], *, best: bool = False, reference: tuple[str, ...] = ()) -> RunResults:
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
    attainable = {"NL": {"ctr": Attainable(auc=0.7, logloss=0.1)}, "US": {"ctr": Attainable(auc=0.9, logloss=0.2)}}
    return results_from(
        method=method,
        dataset="synthetic",
        seed=1,
        rounds=12,
        scenarios=scenarios,
        best_attainable=attainable if best else None,
        reference=reference,
    )


FULL = Comparison(
    run(
        "pf-msmtrec",
        {"NL": {"ctr": (0.65, 0.11), "ctcvr": (None, 0.01)}, "US": {"ctr": (0.75, 0.22)}},
        best=True,
        reference=("alone",),
    ),
    (run("alone", {"NL": {"ctr": (0.6, 0.12), "ctcvr": (None, 0.02)}, "US": {"ctr": (0.8, 0.21)}}),),
)


def test_the_plain_table() -> None:
    assert text(FULL) == (
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
    assert text(Comparison(run("fedavg", {"tab0": {"is_click": (0.61234, 0.5)}}))) == (
        "                       AUC  log loss\n"
        "scenario  task      fedavg    fedavg\n"
        "------------------------------------\n"
        "tab0      is_click  0.6123    0.5000"
    )


def test_the_markdown_table() -> None:
    assert markdown(Comparison(FULL.results)) == (
        "| scenario | task | AUC, pf-msmtrec | AUC, best | log loss, pf-msmtrec | log loss, best |\n"
        "| --- | --- | ---: | ---: | ---: | ---: |\n"
        "| NL | ctr | 0.6500 | 0.7000 | 0.1100 | 0.1000 |\n"
        "| NL | ctcvr | n/a | n/a | 0.0100 | n/a |\n"
        "| US | ctr | 0.7500 | 0.9000 | 0.2200 | 0.2000 |\n"
        "| **mean** | **ctr** | **0.7000** | **0.8000** | **0.1650** | **0.1500** |\n"
        "| **mean** | **ctcvr** | **n/a** | **n/a** | **0.0100** | **n/a** |"
    )
    assert "| gap closed |" in markdown(FULL).splitlines()[0]


def test_the_terminal_table_shows_the_same_cells_and_marks_the_better_figure() -> None:
    table = rich_table(FULL)
    shown = [[str(cell) for cell in column.cells] for column in table.columns]
    expected = [[row.scenario, row.task, *row.cells] for row in FULL.rows]
    assert [list(row) for row in zip(*shown, strict=True)] == expected
    ours, alone = list(table.columns[2].cells), list(table.columns[3].cells)
    assert [getattr(cell, "style", None) for cell in ours] == ["bold green", "", "", "bold green", ""]
    assert [getattr(cell, "style", None) for cell in alone] == ["", "", "bold green", "bold green", ""]
    printed = io.StringIO()
    Console(width=100, file=printed).print(table)
    assert printed.getvalue().startswith("pf-msmtrec against alone on synthetic, test data, seed 1, 12 rounds")


def test_a_mean_over_fewer_scenarios_than_the_others_is_not_shown() -> None:
    diverged = run("fedavg", {"NL": {"ctr": (0.9, None)}, "US": {"ctr": (0.9, 0.1)}})
    whole = run("alone", {"NL": {"ctr": (0.6, 0.5)}, "US": {"ctr": (0.8, 0.1)}})
    assert Comparison(diverged, (whole,)).rows[-1].cells == ("0.9000", "0.7000", "n/a", "0.3000")


def test_a_scenario_that_a_reference_method_lacks_is_not_available() -> None:
    ours = run("fedavg", {"NL": {"ctr": (0.9, 0.2)}, "US": {"ctr": (0.9, 0.1)}})
    rows = Comparison(ours, (run("alone", {"NL": {"ctr": (0.6, 0.5)}}),)).rows
    assert rows[1].cells == ("0.9000", "n/a", "0.1000", "n/a")


def test_a_folder_gives_the_comparison(tmp_path: Path) -> None:
    write_results(FULL.results, tmp_path)
    with pytest.raises(UserError, match=r"no results\.json in .*alone"):
        Comparison.load(tmp_path)
    write_results(FULL.references[0], tmp_path / "alone")
    assert Comparison.load(tmp_path) == FULL
    assert title(Comparison.load(tmp_path)) == "pf-msmtrec against alone on synthetic, test data, seed 1, 12 rounds"


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
