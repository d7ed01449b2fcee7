"""From a table of impressions to one prepared store for each scenario, in two streaming passes.

The first pass learns, on each scenario's own training rows alone, the vocabularies of local fields and the moments of
the numeric columns. The second encodes and writes. What one scenario gets depends on its own rows only (and, for the
rule `last_days`, on the days in the table), so each site can prepare its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.encoding import (
    Coded,
    Encoder,
    VocabularyCounter,
    canonical,
    declared_encoder,
    encode,
    hash_texts,
    transformed,
    without,
)
from pfmsmtrec_flwr.data.reading import Chunk, Columns, Reader
from pfmsmtrec_flwr.data.schema import DatasetSchema, FieldSpec
from pfmsmtrec_flwr.data.splitting import TRAIN, Splitter, resolve_split, split_columns
from pfmsmtrec_flwr.data.standardising import MomentCollector, Standardiser, numeric_matrix
from pfmsmtrec_flwr.data.store import JSON, SPLITS, Field, ScenarioStore, StoreWriter
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger

Rows = npt.NDArray[np.int64]

_USER_SEED = 0
_NO_USER = -1


def prepare(
    schema: DatasetSchema,
    source: Path,
    data_root: Path,
    *,
    scenarios: Sequence[str] | None = None,
    progress: bool = True,
) -> list[ScenarioStore]:
    """Read a data set's files and write the stores of its scenarios.

    Parameters
    ----------
    schema
        What the files hold.
    source
        Folder of the files.
    data_root
        Stores go to ``<data_root>/<data set>/<scenario>/``; what is there is replaced.
    scenarios
        Names of those to prepare; none: all of the schema.
    progress
        Show progress bars, where standard error is a terminal.

    Returns
    -------
    The stores, sorted by scenario.

    Raises
    ------
    UserError
        Missing file or column, a value that cannot be read, an unknown or empty scenario, an empty split, a task with
        one class in training, a folder that cannot be written. Nothing is written then.
    """
    chosen = _chosen(schema, scenarios)
    reader = Reader(schema, source, needed_columns(schema), progress=progress)
    splitter = resolve_split(schema, reader)
    table = _Table(schema, chosen, splitter)
    learned = _learn(table, reader)
    for scenario in chosen:
        learned[scenario].check(scenario, schema, splitter)
    return _write(table, reader, learned, data_root)


def needed_columns(schema: DatasetSchema) -> Columns:
    """Return all columns that a schema reads."""
    texts = [schema.scenario.column, *schema.tasks.values(), *split_columns(schema)]
    texts += [schema.users] if schema.users is not None else []
    texts += [spec.column or name for name, spec in schema.fields.items()]
    numbers = [spec.column or name for name, spec in schema.numeric.items()]
    return Columns(tuple(dict.fromkeys(texts)), tuple(dict.fromkeys(numbers)))


@dataclass(frozen=True, slots=True)
class _Part:
    """One scenario's rows of a chunk."""

    scenario: str
    rows: Rows
    """Positions in the chunk."""
    codes: npt.NDArray[np.int8]
    """Split of each of these rows."""
    labels: npt.NDArray[np.uint8]
    """(rows, T)."""


@dataclass(slots=True)
class _Learned:
    """What the first pass finds out about one scenario."""

    counters: dict[str, VocabularyCounter]
    moments: MomentCollector
    rows: npt.NDArray[np.int64]
    """Of each split."""
    positives: npt.NDArray[np.int64]
    """(splits, T)."""
    encoders: dict[str, Encoder] = field(default_factory=dict)
    """Filled by `finish`."""
    standardiser: Standardiser | None = None

    def finish(self, schema: DatasetSchema) -> None:
        """Turn counts into vocabularies and sums into moments."""
        self.standardiser = self.moments.standardiser()
        for name, counter in self.counters.items():
            spec = schema.fields[name].vocabulary
            if spec is not None:
                self.encoders[name] = counter.vocabulary(spec)

    def check(self, scenario: str, schema: DatasetSchema, splitter: Splitter) -> None:
        """Refuse an empty scenario, an empty split, a task with one class."""
        if not self.rows.sum():
            raise UserError(
                f"scenario '{scenario}' has no rows (no matching value in column '{schema.scenario.column}'): "
                "check the source, or prepare only the scenarios that it holds with --scenario"
            )
        for split, count in zip(SPLITS, self.rows, strict=True):
            if not count:
                raise UserError(
                    f"scenario '{scenario}' has no rows in the {split} split ({splitter.describe()}): "
                    "change the split rule, or leave the scenario out"
                )
        for task, count in zip(schema.tasks, self.positives[TRAIN], strict=True):
            if count in {0, self.rows[TRAIN]}:
                raise UserError(
                    f"scenario '{scenario}', task '{task}': all {self.rows[TRAIN]} training rows have the label "
                    f"{int(count > 0)}, and nothing can be learned from one class: leave out the task or the scenario"
                )


class _Table:
    """Takes a chunk apart into scenarios, labels and features."""

    def __init__(self, schema: DatasetSchema, chosen: Sequence[str], splitter: Splitter) -> None:
        self.schema = schema
        self.chosen = tuple(chosen)
        self.splitter = splitter
        named = {canonical(value): name for value, name in schema.scenario.values.items()}
        self._known = named
        self._position = {value: self.chosen.index(name) for value, name in named.items() if name in self.chosen}
        self.declared = {
            name: encoder for name, spec in schema.fields.items() if (encoder := declared_encoder(spec)) is not None
        }

    def parts(self, chunk: Chunk) -> Iterator[_Part]:
        """Yield the chosen scenarios that have rows in a chunk."""
        scenario = self._scenario_codes(chunk)
        codes = self.splitter.codes(chunk)
        labels = self._labels(chunk, scenario >= 0)
        for position, name in enumerate(self.chosen):
            rows = np.flatnonzero(scenario == position)
            if len(rows):
                yield _Part(name, rows, codes[rows], labels[rows])

    def column(self, chunk: Chunk, name: str, spec: FieldSpec) -> Coded:
        """Return a categorical field's texts, transformed, sentinels missing."""
        return transformed(without(chunk.coded(spec.column or name), spec.missing), spec.transform)

    def learned_columns(self, chunk: Chunk) -> dict[str, Coded]:
        """Return the fields whose vocabulary is learned."""
        specs = self.schema.fields.items()
        return {name: self.column(chunk, name, spec) for name, spec in specs if spec.vocabulary is not None}

    def declared_rows(self, chunk: Chunk) -> dict[str, npt.NDArray[np.int32]]:
        """Encode the fields that a schema declares in full."""
        return {
            name: encode(self.column(chunk, name, self.schema.fields[name]), encoder)
            for name, encoder in self.declared.items()
        }

    def users(self, chunk: Chunk) -> npt.NDArray[np.int64] | None:
        """Return a number for each user, (n,); -1 where it is missing."""
        if self.schema.users is None:
            return None
        column = chunk.coded(self.schema.users)
        numbers = (hash_texts(column.values, _USER_SEED) >> np.uint64(1)).astype(np.int64)
        return column.lookup(numbers, _NO_USER)

    def _scenario_codes(self, chunk: Chunk) -> npt.NDArray[np.int64]:
        column = chunk.coded(self.schema.scenario.column)
        if self.schema.scenario.others == "error":
            known = np.isin(column.values.astype(str), list(self._known))
            unknown = ~column.lookup(known, False)
            if unknown.any():
                expected = ", ".join(self._known)
                raise chunk.error(
                    self.schema.scenario.column, unknown, f"expected one of {expected} (or scenario.others: drop)"
                )
        of_value = np.array([self._position.get(value, -1) for value in column.values], dtype=np.int64)
        codes: npt.NDArray[np.int64] = column.lookup(of_value, -1)
        return codes

    def _labels(self, chunk: Chunk, wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
        labels = np.empty((len(chunk), len(self.schema.tasks)), dtype=np.uint8)
        for position, name in enumerate(self.schema.tasks.values()):
            column = chunk.coded(name)
            texts = column.values.astype(str)
            wrong = column.lookup(~np.isin(texts, ["0", "1"]), True) & wanted
            if wrong.any():
                raise chunk.error(name, wrong, "expected a label 0 or 1")
            labels[:, position] = column.lookup((texts == "1").astype(np.uint8), 0)
        return labels


def _chosen(schema: DatasetSchema, scenarios: Sequence[str] | None) -> list[str]:
    if scenarios is None:
        return list(schema.scenarios)
    for name in scenarios:
        if name not in schema.scenarios:
            raise UserError(f"scenario '{name}' is unknown to {schema.name}: it has {', '.join(schema.scenarios)}")
    if not scenarios:
        raise UserError(f"no scenario was named: {schema.name} has {', '.join(schema.scenarios)}")
    return sorted(set(scenarios))


def _learn(table: _Table, reader: Reader) -> dict[str, _Learned]:
    schema = table.schema
    learned = {scenario: _nothing_yet(schema) for scenario in table.chosen}
    dropped = 0
    for chunk in reader.chunks("learning"):
        columns = table.learned_columns(chunk)
        numbers = numeric_matrix(chunk, schema.numeric)
        taken = 0
        for part in table.parts(chunk):
            _count(learned[part.scenario], part, columns, numbers)
            taken += len(part.rows)
        dropped += len(chunk) - taken
    for each in learned.values():
        each.finish(schema)
    if dropped:
        logger.info("%d rows of other scenarios left out", dropped)
    return learned


def _nothing_yet(schema: DatasetSchema) -> _Learned:
    return _Learned(
        counters={name: VocabularyCounter() for name, spec in schema.fields.items() if spec.vocabulary is not None},
        moments=MomentCollector(len(schema.numeric)),
        rows=np.zeros(len(SPLITS), dtype=np.int64),
        positives=np.zeros((len(SPLITS), len(schema.tasks)), dtype=np.int64),
    )


def _count(learned: _Learned, part: _Part, columns: Mapping[str, Coded], numbers: npt.NDArray[np.float64]) -> None:
    training = part.rows[part.codes == TRAIN]
    for name, counter in learned.counters.items():
        counter.add(columns[name].pick(training))
    learned.moments.add(numbers[training])
    learned.rows += np.bincount(part.codes, minlength=len(SPLITS))
    for code in range(len(SPLITS)):
        learned.positives[code] += part.labels[part.codes == code].sum(axis=0, dtype=np.int64)


def _write(table: _Table, reader: Reader, learned: Mapping[str, _Learned], data_root: Path) -> list[ScenarioStore]:
    schema = table.schema
    with ExitStack() as stack:
        writers = {
            scenario: stack.enter_context(
                _writer(schema, scenario, table.declared | learned[scenario].encoders, data_root)
            )
            for scenario in table.chosen
        }
        for chunk in reader.chunks("writing"):
            features = _Features(table, chunk)
            for part in table.parts(chunk):
                _append(writers[part.scenario], part, features, learned[part.scenario])
        return [writers[scenario].commit(_record(table, learned[scenario])) for scenario in table.chosen]


def _writer(schema: DatasetSchema, scenario: str, encoders: Mapping[str, Encoder], data_root: Path) -> StoreWriter:
    return StoreWriter(
        data_root / schema.name / scenario,
        dataset=schema.name,
        scenario=scenario,
        fields=[
            Field(name, encoders[name].size, spec.embedding == "federated") for name, spec in schema.fields.items()
        ],
        numeric=list(schema.numeric),
        tasks=list(schema.tasks),
        schema_hash=schema.schema_hash,
        users=schema.users is not None,
    )


class _Features:
    """A chunk's features, as far as they are the same for every scenario."""

    def __init__(self, table: _Table, chunk: Chunk) -> None:
        self.names = tuple(table.schema.fields)
        self.declared = table.declared_rows(chunk)
        self.learned = table.learned_columns(chunk)
        self.numbers = numeric_matrix(chunk, table.schema.numeric)
        self.users = table.users(chunk)

    def categorical(self, rows: Rows, encoders: Mapping[str, Encoder]) -> npt.NDArray[np.int32]:
        """Return some rows, encoded, (rows, F)."""
        encoded = np.empty((len(rows), len(self.names)), dtype=np.int32)
        for position, name in enumerate(self.names):
            if name in self.declared:
                encoded[:, position] = self.declared[name][rows]
            else:
                encoded[:, position] = encode(self.learned[name].pick(rows), encoders[name])
        return encoded


def _append(writer: StoreWriter, part: _Part, features: _Features, learned: _Learned) -> None:
    if learned.standardiser is None:
        raise ValueError("the first pass is not finished")
    categorical = features.categorical(part.rows, learned.encoders)
    numeric = learned.standardiser.apply(features.numbers[part.rows])
    users = None if features.users is None else features.users[part.rows]
    for code, split in enumerate(SPLITS):
        rows = part.codes == code
        if rows.any():
            writer.append(
                split,
                categorical=categorical[rows],
                numeric=numeric[rows],
                labels=part.labels[rows],
                users=None if users is None else users[rows],
            )


def _record(table: _Table, learned: _Learned) -> dict[str, JSON]:
    if learned.standardiser is None:
        raise ValueError("the first pass is not finished")
    pairs = zip(table.schema.numeric, learned.standardiser.mean, learned.standardiser.deviation, strict=True)
    moments: dict[str, Any] = {name: {"mean": float(mean), "std": float(std)} for name, mean, std in pairs}
    return {"title": table.schema.title, "split": table.splitter.describe(), "numeric": moments}
