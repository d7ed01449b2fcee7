"""Which row goes to training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.encoding import Coded, Texts, canonical, hash_texts
from pfmsmtrec_flwr.data.reading import Chunk, Columns, Reader
from pfmsmtrec_flwr.data.schema import DatasetSchema, DateSplit, LastDays
from pfmsmtrec_flwr.data.store import JSON, SPLITS
from pfmsmtrec_flwr.errors import UserError

TRAIN, VALIDATION, TEST = range(len(SPLITS))


class Splitter(Protocol):
    """Gives every row its split."""

    def codes(self, chunk: Chunk) -> npt.NDArray[np.int8]:
        """Return positions in `SPLITS`, (n,)."""

    def describe(self) -> dict[str, JSON]:
        """Return the rule as it was resolved, for the manifest."""


@dataclass(frozen=True, slots=True)
class ByDate:
    """Held-out days by their values; all earlier ones are for training."""

    column: str
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def codes(self, chunk: Chunk) -> npt.NDArray[np.int8]:
        """Return positions in `SPLITS`.

        Raises
        ------
        UserError
            A day is missing, or lies after the first held-out one without being held out: it is not the past.
        """
        days = chunk.coded(self.column)
        if (days.index < 0).any():
            raise chunk.error(self.column, days.index < 0, "expected a day, for the split")
        code = np.full(len(days.values), TRAIN, dtype=np.int8)
        code[np.isin(days.values, self.validation)] = VALIDATION
        code[np.isin(days.values, self.test)] = TEST
        held_out = np.array([*self.validation, *self.test], dtype=object)
        order = _order_keys(np.concatenate([held_out, days.values]))
        late = (code == TRAIN) & (order[len(held_out) :] > order[: len(held_out)].min())
        wrong = days.lookup(late, False)
        if wrong.any():
            raise chunk.error(
                self.column,
                wrong,
                "which is after the first held-out day: name it in split.by_date, validation or test",
            )
        codes: npt.NDArray[np.int8] = days.lookup(code, TRAIN)
        return codes

    def describe(self) -> dict[str, JSON]:
        """Return the days."""
        return {"by_date": self.column, "validation": list(self.validation), "test": list(self.test)}


@dataclass(frozen=True, slots=True)
class ByKey:
    """Shares drawn by the hash of a key, so that equal keys stay together and no other row matters."""

    column: str
    validation: float
    test: float
    seed: int

    def codes(self, chunk: Chunk) -> npt.NDArray[np.int8]:
        """Return positions in `SPLITS`."""
        keys = chunk.coded(self.column)
        of_key = self._codes_of(keys.values)
        codes: npt.NDArray[np.int8] = keys.lookup(of_key, self._codes_of(np.array([""], dtype=object))[0])
        return codes

    def describe(self) -> dict[str, JSON]:
        """Return the shares."""
        return {"key": self.column, "validation": self.validation, "test": self.test, "seed": self.seed}

    def _codes_of(self, values: Texts) -> npt.NDArray[np.int8]:
        draw = hash_texts(values, self.seed) / 2.0**64
        return np.where(
            draw < self.validation, VALIDATION, np.where(draw < self.validation + self.test, TEST, TRAIN)
        ).astype(np.int8)


def split_columns(schema: DatasetSchema) -> tuple[str, ...]:
    """Return the columns that the split rule reads."""
    rule = schema.split
    if rule.by_date is not None:
        return (rule.by_date.column,)
    if rule.random is not None:
        return (rule.random.key,)
    return (schema.users,) if schema.users is not None else ()


def resolve_split(schema: DatasetSchema, reader: Reader) -> Splitter:
    """Make a splitter of the schema's rule; `last_days` takes one pass over the days of all rows.

    Raises
    ------
    UserError
        There are too few days.
    """
    rule = schema.split
    if rule.by_date is not None:
        return _by_date(rule.by_date, reader)
    if rule.random is not None:
        return ByKey(rule.random.key, rule.random.validation, rule.random.test, rule.random.seed)
    if rule.by_user is None or schema.users is None:
        raise ValueError("a checked schema has a split rule, and users where it splits by them")
    return ByKey(schema.users, rule.by_user.validation, rule.by_user.test, rule.by_user.seed)


def _by_date(rule: DateSplit, reader: Reader) -> ByDate:
    if rule.last_days is None:
        return ByDate(rule.column, tuple(map(canonical, rule.validation)), tuple(map(canonical, rule.test)))
    days = _days(rule.column, reader)
    validation, test = _last(days, rule.last_days, rule.column)
    return ByDate(rule.column, validation, test)


def _days(column: str, reader: Reader) -> list[str]:
    only = Columns((column,)) if reader.has(column) else None
    found: set[str] = set()
    for chunk in reader.chunks("days", only):
        days: Coded = chunk.coded(column)
        found |= set(days.values[days.counts() > 0])
    values = np.array(sorted(found), dtype=object)
    return list(values[np.argsort(_order_keys(values), kind="stable")])


def _last(days: list[str], last: LastDays, column: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    held_out = last.validation + last.test
    if len(days) <= held_out:
        raise UserError(
            f"column '{column}' has {len(days)} days ({', '.join(days)}), "
            f"but {held_out} are held out and training needs one more"
        )
    return tuple(days[-held_out : -last.test]), tuple(days[-last.test :])


def _order_keys(values: Texts) -> npt.NDArray[Any]:
    """Return keys to compare days by: as numbers where all are, else as text, which is right for 2022-04-30."""
    texts = values.astype(str)
    if all(text.isdigit() for text in texts):
        return texts.astype(np.int64)
    return np.unique(texts, return_inverse=True)[1]
