"""Checks of what the sections of a schema say of each other."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING

from pfmsmtrec_flwr.data.schema.column_form import ColumnForm
from pfmsmtrec_flwr.data.schema.spelling import canonical, written_twice
from pfmsmtrec_flwr.data.schema.table_sections import SCENARIO_MARK, SPLIT_MARK
from pfmsmtrec_flwr.data.schema.time_section import TIME_PARTS, lacks
from pfmsmtrec_flwr.data.schema.values import Scalar

if TYPE_CHECKING:
    from pfmsmtrec_flwr.data.schema.document import DatasetSchema

_KEEP = ColumnForm(leading_zeros="keep")


def check_consistency(schema: DatasetSchema) -> None:
    """Check that the sections of a schema go together.

    Raises
    ------
    ValueError
        Two sections contradict each other, or one needs another that is not there.
    """
    for rule in ("by_user", "by_user_time"):
        if getattr(schema.split, rule) is not None and schema.users is None:
            raise ValueError(f"split.{rule} needs the key users")
    if both := schema.fields.keys() & schema.numeric.keys():
        raise ValueError(f"'{min(both)}' is both in fields and in numeric: give one of them another name and column")
    _check_times(schema)
    _check_several(schema)
    _check_labels(schema)
    _check_spellings(schema)
    _check_declared(schema)
    _check_marks(schema)
    _check_forms(schema)
    _check_scenarios(schema)
    _check_negatives(schema)


def _check_times(schema: DatasetSchema) -> None:
    rule = schema.split.by_date or schema.split.by_user_time
    columns = {spec.column or name for name, spec in schema.fields.items()} | ({rule.column} if rule else set())
    if unread := schema.times.keys() - columns:
        raise ValueError(f"times: neither the split nor a field reads the column '{min(unread)}'")
    for name, spec in schema.fields.items():
        time = schema.times.get(spec.column or name)
        if spec.transform in ("weekday", "day") and time is None:
            column = spec.column or name
            raise ValueError(
                f"fields.{name}: transform {spec.transform} needs the form of the column's times, "
                f"such as times: {{{column}: {{form: iso}}}}"
            )
        if time is not None and spec.transform in TIME_PARTS and (spec.several or lacks(time.form, spec.transform)):
            why = "a field of several values" if spec.several else f"the form {time.form}"
            raise ValueError(f"fields.{name}: transform {spec.transform} does not go with {why}")


def _check_several(schema: DatasetSchema) -> None:
    for name, spec in schema.fields.items():
        several = spec.several is not None and spec.several.columns is None
        if several and schema.form_of(spec.columns(name)[0]).is_number:
            raise ValueError(f"fields.{name}: decimal, thousands and signs are for one number, not for several")


def _check_labels(schema: DatasetSchema) -> None:
    labels = {task.column for task in schema.tasks.values()}
    for name, columns in schema.feature_columns().items():
        if both := labels.intersection(columns):
            raise ValueError(f"'{name}' reads the label column '{min(both)}': the label would be a feature")


def _check_spellings(schema: DatasetSchema) -> None:
    """Refuse a value that is there twice in two spellings, and keys of a join in two forms."""
    named: list[tuple[str, str, Iterable[Scalar]]] = [
        (f"tasks.{name}", task.column, pair)
        for name, task in schema.tasks.items()
        if task.at_least is None
        for pair in (*product(task.positive, task.negative), *product(task.missing, task.positive + task.negative))
    ]
    named += [
        (f"fields.{name}.values", spec.columns(name)[0], spec.values)
        for name, spec in schema.fields.items()
        if spec.values is not None
    ]
    if schema.scenario.column is not None:
        named.append(("scenario.values", schema.scenario.column, schema.scenario.values or ()))
    for where, column, values in named:
        if (both := written_twice(values, schema.form_of(column))) is not None:
            zeros = f", or keep leading zeros with table.columns: {{{column}: {{leading_zeros: keep}}}}"
            hint = "" if written_twice(both, _KEEP) else zeros
            raise ValueError(f"{where}: '{both[0]}' and '{both[1]}' are one value: leave one out{hint}")
    for join in schema.joins:
        here, there = schema.table.form_of(join.key), join.form_of(join.key_there or join.key)
        if here.leading_zeros != there.leading_zeros:
            raise ValueError(f"joins: the key '{join.key}' keeps leading zeros in one of its tables only")


def _check_declared(schema: DatasetSchema) -> None:
    """Refuse declared values of a field that no row can have."""
    for name, spec in schema.fields.items():
        form = schema.form_of(spec.columns(name)[0])
        missing = {canonical(word, form) for word in (*spec.missing, *form.missing)}
        for value in spec.values or ():
            if (text := canonical(value, form)) in missing:
                raise ValueError(f"fields.{name}: '{value}' is in values and in missing: leave it out of one of them")
            if spec.transform == "lower" and text != text.lower():
                raise ValueError(f"fields.{name}.values: got '{value}', expected lower case, as transform is lower")


def _check_marks(schema: DatasetSchema) -> None:
    names = schema.scenario.names or ()
    for mark, wanted, why in (
        (SCENARIO_MARK, len(names) > 1, "several scenario.names"),
        (SPLIT_MARK, schema.split.by_file is not None, "split.by_file"),
    ):
        marked = [mark in pattern for pattern in schema.table.files]
        if wanted and not all(marked):
            raise ValueError(f"{why} needs {mark} in each of table.files")
        everywhere = marked + [mark in pattern for join in schema.joins for pattern in join.files]
        if not wanted and any(everywhere) and not (mark == SCENARIO_MARK and names):
            raise ValueError(f"{mark} in the name of a file needs {why}")


def _check_forms(schema: DatasetSchema) -> None:
    for table in (schema.table, *schema.joins):
        for scenario, columns in table.columns_of.items():
            if scenario not in (schema.scenario.names or ()):
                raise ValueError(
                    f"table.columns_of: got '{scenario}', expected one of scenario.names, whose files hold one "
                    "scenario each"
                )
            for column, form in columns.items():
                if form.leading_zeros != table.form_of(column).leading_zeros:
                    raise ValueError(f"table.columns_of: '{column}' keeps leading zeros in some scenarios only")


def _check_scenarios(schema: DatasetSchema) -> None:
    sections = {"tasks": schema.tasks, "fields": schema.fields, "numeric": schema.numeric}
    named: list[tuple[str, Iterable[str]]] = [
        (f"{kind}.{name}", spec.scenarios or ())
        for kind, specs in sections.items()
        for name, spec in specs.items()  # type: ignore[attr-defined]
    ]
    named.append(("expected_rows", schema.expected_rows))
    named.append(("negatives", schema.negatives.scenarios if schema.negatives else ()))
    for where, names in named:
        if unknown := sorted(set(names) - set(schema.scenarios)):
            raise ValueError(f"{where}: scenario '{unknown[0]}' is unknown, there are {', '.join(schema.scenarios)}")
    for scenario in schema.scenarios:
        if not schema.tasks_of(scenario):
            raise ValueError(f"scenario '{scenario}' has no task")


def _check_negatives(schema: DatasetSchema) -> None:
    spec = schema.negatives
    if spec is None:
        return
    if schema.users is None:
        raise ValueError("negatives needs the key users")
    if spec.task not in schema.tasks:
        raise ValueError(f"negatives.task: '{spec.task}' is no task, there are {', '.join(schema.tasks)}")
    if lacking := [name for name in spec.scenarios if spec.task not in schema.tasks_of(name)]:
        raise ValueError(f"negatives: scenario '{lacking[0]}' has no task '{spec.task}'")
    if spec.item not in schema.fields:
        raise ValueError(f"negatives.item: '{spec.item}' is no field")
    if schema.fields[spec.item].several is not None:
        raise ValueError(f"negatives.item: '{spec.item}' has several values in a row, expected one")
    if unknown := [name for name in spec.item_features if name not in schema.fields and name not in schema.numeric]:
        raise ValueError(f"negatives.item_features: '{unknown[0]}' is neither a field nor numeric")
