"""Derived columns of fixed width, made from the columns of a table, whole arrays at a time.

A field that its schema declares in full is encoded at once. For a field that is hashed, or whose vocabulary is learned,
the 64-bit hash of each value is kept; it is encoded when the scenario's training rows are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.encode.encoders import (
    NO_HASH,
    CodedColumn,
    Encoder,
    are_clock_times,
    declared_encoder,
    hash_texts,
    is_one_of,
    transformed,
    without,
)
from pfmsmtrec_flwr.data.encode.several import CodedLists, gathered_values, known_values, split_values
from pfmsmtrec_flwr.data.encode.times import part_of
from pfmsmtrec_flwr.data.prepare.clocks import Clock
from pfmsmtrec_flwr.data.prepare.splits import ByRow, ByUserTime, Splitter
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.tables import LIST_ENDINGS
from pfmsmtrec_flwr.data.schema.column_form import ColumnForm
from pfmsmtrec_flwr.data.schema.document import DatasetSchema, has
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection, NumericSection, SeveralSection
from pfmsmtrec_flwr.data.schema.scenario_section import ScenarioSection
from pfmsmtrec_flwr.data.schema.spelling import canonical
from pfmsmtrec_flwr.data.schema.task_sections import TaskSection
from pfmsmtrec_flwr.data.schema.time_section import TIME_PARTS, TimeSection
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL, NO_USER
from pfmsmtrec_flwr.errors import UserError

SCENARIO = "scenario"
SPLIT = "split"
TIME = "time"
USER = "user"
NO_SCENARIO = -1
NOT_FOUND = -2
"""Scenario or split of a row for which the side table has no row."""
UNKNOWN = -1
"""Row of a value that is unknown to a declared encoder. The store has row 0 instead."""
WRONG_LABEL = 2

_LARGEST = 1e30  # the square of a larger number does not fit 32-bit floats
_USER_SEED = 0
_KEY_SEED = 0
_VOCABULARY_SEED = 0


@dataclass(frozen=True, slots=True)
class Output:
    """A column of fixed width that is derived from one column of a table.

    Attributes
    ----------
    name
        Name, such as ``field:item``.
    column
        Column of the table, or the first of several.
    dtype
        Numpy name of the type.
    missing
        Value in rows for which a side table has no row.
    make
        Function that derives the column from a chunk, (n,), or (n, width) for several values in a row.
    number
        True if the column is read as numbers, not as text.
    width
        Largest number of values of a row; None for a column of one value.
    others
        Further columns of the same table.
    exact
        True if a rounded number would be another value, as of an id.
    """

    name: str
    column: str
    dtype: str
    missing: float | int
    make: Callable[[Chunk], Array]
    number: bool = False
    width: int | None = None
    others: tuple[str, ...] = ()
    exact: bool = False


def outputs_of(schema: DatasetSchema, scenarios: Sequence[str], splitter: Splitter) -> list[Output]:
    """Return all outputs of a table for scenarios that come from the same files.

    The number of a scenario is its position in `scenarios`, and `NO_SCENARIO` for any other.
    """
    found: list[Output] = []
    if schema.scenario.column is not None:
        found.append(scenario_output(schema, scenarios, schema.scenario.column))
    if isinstance(splitter, ByUserTime):
        found.append(_time(splitter.clock))
    elif not isinstance(splitter, ByRow):
        found.append(Output(SPLIT, splitter.column, "int8", NOT_FOUND, splitter.codes))
    if schema.users is not None:
        found.append(_user(schema.users))
    wanted = [
        (name, task) for name, task in schema.tasks.items() if any(has(task.scenarios, each) for each in scenarios)
    ]
    labels = [_label(name, task, schema.form_of(task.column)) for name, task in wanted]
    return [*found, *labels, *feature_outputs(schema, scenarios)]


def feature_outputs(schema: DatasetSchema, scenarios: Sequence[str]) -> list[Output]:
    """Return the outputs of the fields and numeric columns that any of these scenarios has."""
    found: list[Output] = []
    for name, spec in schema.fields.items():
        if any(has(spec.scenarios, each) for each in scenarios):
            form, time = schema.form_of(spec.columns(name)[0]), schema.times.get(spec.column or name)
            if spec.several is None:
                found.append(_field(name, spec, form, time))
            else:
                found += _lists(name, spec, spec.several, form)
    for name, number in schema.numeric.items():
        if any(has(number.scenarios, each) for each in scenarios):
            found.append(_number(name, number))
    return found


def field_output(name: str) -> str:
    """Return the name of a field's output."""
    return f"field:{name}"


def left_out_output(name: str) -> str:
    """Return the name of the output of how many values of a field of several are left out."""
    return f"left-out:{name}"


def number_output(name: str) -> str:
    """Return the name of a numeric column's output."""
    return f"number:{name}"


def label_output(task: str) -> str:
    """Return the name of a task's output."""
    return f"label:{task}"


def key_output(column: str) -> Output:
    """Return the output for the hashed key of a join."""
    return Output(
        f"key:{column}", column, "uint64", NO_HASH, lambda chunk: _hashed(chunk.coded(column), _KEY_SEED), exact=True
    )


def is_hashed(spec: FieldSection) -> bool:
    """Return whether a field's hashes are kept instead of its rows."""
    return spec.hash is not None or spec.vocabulary is not None


def scenario_output(schema: DatasetSchema, scenarios: Sequence[str], column: str) -> Output:
    """Return the output of each row's scenario: its position in `scenarios`, and `NO_SCENARIO` for any other."""
    if schema.scenario.bands is not None:
        return _bands(schema.scenario, scenarios, column)
    form = schema.form_of(column)
    named = {canonical(value, form): name for value, name in (schema.scenario.values or {}).items()}
    place = {value: scenarios.index(name) for value, name in named.items() if name in scenarios}

    def make(chunk: Chunk) -> Array:
        texts = chunk.coded(column)
        if schema.scenario.others == "error":
            unknown = ~texts.lookup(is_one_of(texts.values, list(named)), False)
            if unknown.any():
                expected = f"expected one of {', '.join(named)} (or scenario.others: drop)"
                raise chunk.error(column, unknown, expected)
        return texts.lookup(np.array([place.get(value, NO_SCENARIO) for value in texts.values], np.int16), NO_SCENARIO)

    return Output(SCENARIO, column, "int16", NOT_FOUND, make)


def _bands(section: ScenarioSection, scenarios: Sequence[str], column: str) -> Output:
    names = section.all_names()
    place = np.array([scenarios.index(name) if name in scenarios else NO_SCENARIO for name in names], np.int16)

    def make(chunk: Chunk) -> Array:
        numbers = chunk.numbers(column)
        lacking = np.isnan(numbers)
        if section.others == "error" and lacking.any():
            raise chunk.error(column, lacking, "expected a number, for the scenario (or scenario.others: drop)")
        found = place[np.digitize(np.where(lacking, 0.0, numbers), section.bands or ())]
        return np.where(lacking, np.int16(NO_SCENARIO), found)

    return Output(SCENARIO, column, "int16", NOT_FOUND, make)


def _time(clock: Clock) -> Output:
    def make(chunk: Chunk) -> Array:
        times = clock.order(chunk)
        if np.isnan(times).any():
            raise chunk.error(clock.column, np.isnan(times), "expected a time, for the split")
        return times

    return Output(TIME, clock.column, "float64", np.nan, make, number=clock.numeric)


def _user(column: str) -> Output:
    def make(chunk: Chunk) -> Array:
        texts = chunk.coded(column)
        numbers = (hash_texts(texts.values, _USER_SEED) >> np.uint64(1)).astype(np.int64)
        return texts.lookup(numbers, NO_USER)

    return Output(USER, column, "int64", NO_USER, make, exact=True)


def _label(name: str, task: TaskSection, form: ColumnForm) -> Output:
    if task.at_least is not None:
        return _threshold(name, task, task.at_least)
    yes, no = ([canonical(value, form) for value in values] for values in (task.positive, task.negative))

    def make(chunk: Chunk) -> Array:
        texts = without(chunk.coded(task.column), task.missing, form)
        labels = np.where(is_one_of(texts.values, no), 0, WRONG_LABEL).astype(np.uint8)
        labels[is_one_of(texts.values, yes)] = 1
        return texts.lookup(labels, MISSING_LABEL)

    return Output(label_output(name), task.column, "uint8", MISSING_LABEL, make)


def _threshold(name: str, task: TaskSection, at_least: float) -> Output:
    def make(chunk: Chunk) -> Array:
        numbers = chunk.numbers(task.column)
        missing = np.isnan(numbers) | np.isin(numbers, task.missing_numbers())
        return np.where(missing, MISSING_LABEL, numbers >= at_least).astype(np.uint8)

    return Output(label_output(name), task.column, "uint8", MISSING_LABEL, make, number=True)


def _field(name: str, spec: FieldSection, form: ColumnForm, time: TimeSection | None) -> Output:
    column = spec.column or name

    def texts_of(chunk: Chunk) -> CodedColumn:
        texts = known_values(chunk.coded(column), spec, form)
        if time is not None and spec.transform in TIME_PARTS:
            return CodedColumn(part_of(Clock(column, time).points(chunk, texts), spec.transform), texts.index)
        if spec.transform == "hour" and (odd := texts.lookup(~are_clock_times(texts.values), False)).any():
            expected = "expected a number such as 2359: name it in missing, or state the column's form under times"
            raise chunk.error(column, odd, expected)
        return transformed(texts, spec.transform, form)

    dtype, missing, make = _encoded(spec, form, texts_of)
    return Output(field_output(name), column, dtype, missing, make, exact=_is_exact(spec))


def _is_exact(spec: FieldSection) -> bool:
    return is_hashed(spec) or spec.values is not None


def _lists(name: str, spec: FieldSection, several: SeveralSection, form: ColumnForm) -> list[Output]:
    """Return the output of a field of several values, and the output of how many of a row's values are left out."""

    def lists_of(chunk: Chunk) -> CodedLists:
        return chunk.lists(name, lambda: _coded_lists(chunk, name, spec, several, form))

    column, *others = spec.columns(name)
    dtype, missing, make = _encoded(spec, form, lists_of)
    exact = _is_exact(spec) and several.flags is None
    field = Output(
        field_output(name), column, dtype, missing, make, width=several.most, others=tuple(others), exact=exact
    )
    left_out = Output(left_out_output(name), column, "int32", 0, lambda chunk: lists_of(chunk).left_out())
    return [field, left_out]


def _coded_lists(chunk: Chunk, name: str, spec: FieldSection, several: SeveralSection, form: ColumnForm) -> CodedLists:
    columns = spec.columns(name)
    if several.flags is not None:
        return gathered_values([_flagged(chunk, column) for column in columns], spec, several.most, form)
    if several.columns is not None:
        return gathered_values([chunk.coded(column) for column in columns], spec, several.most, form)
    if several.separator is None and chunk.source.ending not in LIST_ENDINGS:
        raise UserError(f"{chunk.source}: field '{name}' needs several.separator: only Parquet files have lists")
    texts = chunk.coded(columns[0]) if several.separator is None else chunk.written(columns[0])
    return split_values(texts, spec, several, form)


def _flagged(chunk: Chunk, column: str) -> CodedColumn:
    """Return a column that has its own name as value where it is 1, and is missing elsewhere."""
    flags = chunk.coded(column)
    odd = flags.lookup(~is_one_of(flags.values, ["0", "1", "false", "true"]), False)
    if odd.any():
        raise chunk.error(column, odd, "expected a flag 0 or 1")
    set_there = flags.lookup(is_one_of(flags.values, ["1", "true"]), False)
    return CodedColumn(np.array([canonical(column)], dtype=object), np.where(set_there, 0, -1))


def _encoded(
    spec: FieldSection, form: ColumnForm, texts_of: Callable[[Chunk], CodedColumn | CodedLists]
) -> tuple[str, int, Callable[[Chunk], Array]]:
    """Return the type of a field's output, its missing value, and the function that derives it."""
    encoder = declared_encoder(spec, form)
    if encoder is not None:
        return "int32", 0, lambda chunk: _rows(texts_of(chunk), encoder)
    seed = spec.hash.seed if spec.hash is not None else _VOCABULARY_SEED
    return "uint64", NO_HASH, lambda chunk: _hashed(texts_of(chunk), seed)


def _number(name: str, spec: NumericSection) -> Output:
    column = spec.column or name
    return Output(
        number_output(name),
        column,
        "float64",
        np.nan,
        lambda chunk: prepared_numbers(chunk, column, spec),
        number=not spec.missing_words,  # words are in texts only
    )


def _hashed(texts: CodedColumn | CodedLists, seed: int) -> Array:
    return texts.lookup(hash_texts(texts.values, seed), NO_HASH)


def _rows(texts: CodedColumn | CodedLists, encoder: Encoder) -> Array:
    rows = encoder.rows(texts.values).astype(np.int32)
    return texts.lookup(np.where(rows == 0, UNKNOWN, rows).astype(np.int32), 0)


def prepared_numbers(chunk: Chunk, column: str, spec: NumericSection) -> npt.NDArray[np.float64]:
    """Return a numeric column before standardisation, (n,); missing values are not-a-number.

    Raises
    ------
    UserError
        A text is not a number, a number is too large, or a value for log1p is negative.
    """
    values = chunk.numbers(column, spec.missing_words)
    odd = ~(np.abs(values) <= _LARGEST)  # not-a-number too
    if spec.missing_numbers:
        odd |= np.isin(values, spec.missing_numbers)
    if odd.any():
        known = np.isfinite(values) & ~np.isin(values, spec.missing_numbers)
        values = np.where(known, values, np.nan)
        if spec.clip is None and (odd & known).any():
            raise chunk.error(column, odd & known, f"expected at most {_LARGEST:g}: name it in missing, or clip")
    if spec.clip is not None:
        values = np.clip(values, *spec.clip)
    if spec.transform == "log1p":
        if (values < 0).any():
            raise chunk.error(column, values < 0, "but log1p needs values from 0: name it in missing, or clip")
        values = np.log1p(values)
    return values
