"""The note on calibrated predictions below the table of a run."""

from __future__ import annotations

from compared import run_results

from pfmsmtrec_flwr.results.calibrated_notes import calibrated_notes
from pfmsmtrec_flwr.results.frame import Figures
from pfmsmtrec_flwr.results.overviews import measure_tables, run_table, scenario_table
from pfmsmtrec_flwr.results.schema import RunResults, macro_of


def calibrated(method: str, *losses: float) -> RunResults:
    """Results with a log loss and a ratio after calibration in each scenario."""
    results = run_results(method, 0, {"NL": {"ctr": 0.75}, "US": {"ctr": 0.5}})
    scenarios = {
        name: own.model_copy(
            update={
                "tasks": {
                    task: figures.model_copy(update={"logloss_calibrated": loss, "calibration_calibrated": 1 + loss})
                    for task, figures in own.tasks.items()
                }
            }
        )
        for (name, own), loss in zip(results.scenarios.items(), losses, strict=True)
    }
    return results.model_copy(update={"scenarios": scenarios, "macro": macro_of(scenarios)})


PLAIN = run_results("fedbn", 0, {"NL": {"ctr": 0.75}, "US": {"ctr": 0.5}})
RUNS = [calibrated("fedavg", 0.125, 0.25), calibrated("alone", 0.25, 0.5)]


def test_the_mean_log_loss_and_the_range_of_the_ratios() -> None:
    (note,) = calibrated_notes(RUNS)
    assert note == (
        "calibrated on validation rows: log loss of fedavg ctr 0.1875; of alone ctr 0.3750; predicted over observed by "
        "scenario, fedavg: ctr 1.12 to 1.25 (before 1.00 to 1.00)"
    )
    assert run_table(RUNS).notes[-1] == note


def test_no_note_without_calibration() -> None:
    assert calibrated_notes([PLAIN]) == []


def test_the_figures_are_in_the_tables_of_those_that_have_them() -> None:
    figures = Figures({run.method: [run] for run in RUNS} | {"fedbn": [PLAIN]})
    (table,) = measure_tables(figures, "logloss_calibrated")
    assert [str(cell) for cell in table.rows[0][2:]] == ["0.1250", "0.2500", "0.1875"]
    assert [str(cell) for cell in table.rows[-1][2:]] == ["n/a", "n/a", "n/a"]
    (ratios,) = measure_tables(figures, "calibration_calibrated")
    assert [str(cell) for cell in ratios.rows[0][2:]] == ["1.1250", "1.2500"]
    wide = scenario_table(figures, figures.lines, figures.measured, "all")
    assert "log loss, calibrated\nfedavg" in wide.heads
    without = Figures({"fedbn": [PLAIN]})
    assert list(measure_tables(without, "logloss_calibrated")) == []
    assert not any(metric.endswith("calibrated") for metric in without.measured)
