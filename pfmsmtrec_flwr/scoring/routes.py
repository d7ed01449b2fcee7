"""Scenario of each raw row, which says the model that scores it."""

from __future__ import annotations

from collections.abc import Sequence

from pfmsmtrec_flwr.data.prepare.columns import Output, scenario_output
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.scenario_section import ScenarioSection
from pfmsmtrec_flwr.data.schema.values import Scalar
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.scoring.raw_tables import RawTable

NAMES_COLUMN = "scenario"
"""Column with the names of scenarios, for data sets whose scenarios have files of their own."""


def columns_to_read(schema: DatasetSchema) -> set[str]:
    """Return every column of a table that scoring may read."""
    return _features(schema) | {schema.scenario.column or NAMES_COLUMN, *(join.key for join in schema.joins)}


def scenario_route(schema: DatasetSchema, table: RawTable, scenarios: Sequence[str]) -> Output | None:
    """Return the output of each row's scenario, its position in `scenarios`; None if all rows are of the only one.

    Parameters
    ----------
    schema
        Schema of the data set.
    table
        Table of the rows.
    scenarios
        Scenarios that have a model.

    Raises
    ------
    UserError
        There are several scenarios, and the rows do not say theirs.
    """
    column = schema.scenario.column
    if column is not None and column in table.known:
        return scenario_output(table.schema, scenarios, column)
    named = column is None and NAMES_COLUMN in table.names and NAMES_COLUMN not in _features(schema)
    if len(scenarios) == 1 and not named:
        return None
    source = table.part.source
    if column is not None:
        raise UserError(
            f"{source}: no column '{column}', which says the scenario of a row; it has {', '.join(table.names)}: "
            "add it, or name the scenario of all rows with --scenario"
        )
    if NAMES_COLUMN not in table.names:
        raise UserError(
            f"{source}: there are models of {', '.join(scenarios)}: name the scenario of all rows with --scenario, or "
            f"add a column '{NAMES_COLUMN}' with the names"
        )
    names: dict[Scalar, str] = {name: name for name in schema.scenarios}
    section = ScenarioSection(column=NAMES_COLUMN, values=names)
    return scenario_output(table.schema.model_copy(update={"scenario": section}), scenarios, NAMES_COLUMN)


def _features(schema: DatasetSchema) -> set[str]:
    return {column for columns in schema.feature_columns().values() for column in columns}
