from __future__ import annotations

import csv
import io

import pytest

from pfmsmtrec_flwr.report.study import Study
from pfmsmtrec_flwr.report.tables import (
    LEVELS,
    Cell,
    Group,
    Row,
    Table,
    as_csv,
    as_latex,
    cost_table,
    data_table,
    measure_tables,
    ranking_table,
)


def figures(table: Table) -> dict[tuple[str, ...], list[str]]:
    return {row.heads: [cell.text for cell in row.cells] for row in table.rows}


def test_the_auc_of_lines_by_scenario_and_task(study: Study) -> None:
    ctr, ctcvr = measure_tables(study, "auc")
    assert (ctr.name, ctr.columns) == ("auc-ctr", ("NL", "US", "mean"))
    assert [group.name for group in ctr.groups] == ["floor", "alone", "federated", "attainable"]
    assert figures(ctr) == {
        ("base-rate", "global"): ["0.6000", "0.4000", "0.5000"],
        ("alone", "personalised"): ["0.7000", "0.5000", "0.6000"],
        ("fedavg", "global"): ["0.7500", "0.5500", "0.6500"],
        ("pf-msmtrec", "personalised"): ["0.8000", "0.6000", "0.7000"],
        ("pf-msmtrec", "consensus"): ["0.7500", "0.5500", "0.6500"],
        ("best attainable", "true probabilities"): ["0.8750", "0.8750", "0.8750"],
    }
    assert figures(ctcvr)["alone", "personalised"] == ["0.6000", "n/a", "0.6000"]


def test_the_shade_tells_where_a_cell_lies_between_worst_and_best(study: Study) -> None:
    column = [row.cells[0] for row in next(measure_tables(study, "auc")).rows]
    assert [cell.level for cell in column] == [0, 4, 6, LEVELS - 1, 6, None]
    assert [cell.best for cell in column] == [False, False, False, True, False, False]
    assert [cell.sd for cell in column] == ["", "0.0141", "0.0141", "0.0141", "0.0141", ""]


def test_a_column_of_equals_and_one_without_a_better_side_have_no_shade(study: Study) -> None:
    for metric in ("logloss", "calibration"):
        table = next(measure_tables(study, metric))
        assert {cell.level for row in table.rows for cell in row.cells} == {None}
    assert table.columns == ("NL", "US")  # a mean of ratios would say nothing
    assert figures(table)["alone", "personalised"] == ["1.1250", "1.1250"]


def test_the_coverage_stands_below_the_gauc(study: Study) -> None:
    table = next(measure_tables(study, "gauc"))
    assert figures(table)["share of impressions that count", ""] == ["50.0%", "50.0%", ""]


def test_the_ranking_by_task(study: Study) -> None:
    table = ranking_table(study)
    assert table.columns == ("ctr", "place, ctr", "ctcvr", "place, ctcvr", "seeds")
    assert figures(table)["pf-msmtrec", "personalised"] == ["0.7000", "1", "0.7000", "1", "2"]
    assert figures(table)["base-rate", "global"] == ["0.5000", "5", "0.5000", "5", "1"]


def test_the_cost_of_a_run(study: Study) -> None:
    assert figures(cost_table(study)) == {
        ("base-rate",): ["3.0", "0.0", "0.0", "0.0", "0.00", "0.00"],
        ("alone",): ["3.0", "0.0", "0.0", "0.0", "0.00", "0.00"],
        ("fedavg",): ["3.0", "0.0", "0.0", "0.0", "2.00", "3.00"],
        ("pf-msmtrec",): ["3.0", "12.5", "9.2", "0.0", "2.00", "3.00"],
    }


def test_the_size_of_the_data(study: Study) -> None:
    assert figures(data_table(study)) == {
        ("NL",): ["800", "90", "100", "30", "7"],
        ("US",): ["800", "90", "100", "30", "0"],
    }


SMALL = Table(
    "small",
    "100% small",
    ("method", "model"),
    ("a_b", "c"),
    (
        Group("alone", (Row(("x, y", "global"), (Cell("0.5", "0.1", 8, best=True), Cell("n/a"))),)),
        Group("federated", (Row(("z", "global"), (Cell("0.4"), Cell("2"))),)),
    ),
)


def test_a_table_as_csv() -> None:
    assert list(csv.reader(io.StringIO(as_csv(SMALL)))) == [
        ["family", "method", "model", "a_b", "a_b sd", "c"],
        ["alone", "x, y", "global", "0.5", "0.1", "n/a"],
        ["federated", "z", "global", "0.4", "", "2"],
    ]


def test_a_table_as_latex() -> None:
    assert as_latex(SMALL).splitlines() == [
        "% 100% small",
        r"\begin{tabular}{llrr}",
        r"\toprule",
        r"method & model & a\_b & c \\",
        r"\midrule",
        r"x, y & global & \textbf{0.5} \,$\pm$\,0.1 & n/a \\",
        r"\midrule",
        r"z & global & 0.4 & 2 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize("metric", ["auc", "logloss", "gauc", "calibration"])
def test_every_line_of_a_table_fills_its_columns(study: Study, metric: str) -> None:
    for table in measure_tables(study, metric):  # type: ignore[arg-type]
        assert {len(row.cells) for row in table.rows} == {len(table.columns)}
