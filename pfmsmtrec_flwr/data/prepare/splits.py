"""Split of the rows into training, validation and test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.encode.encoders import Texts, hash_texts
from pfmsmtrec_flwr.data.encode.times import day_text
from pfmsmtrec_flwr.data.prepare.clocks import Clock, ReadColumn, clock_of
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.split_sections import DateSplit, FileSplit, LastDays
from pfmsmtrec_flwr.data.store.manifest import JSON, NO_USER, SPLITS
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.seeds import derive_seed

TRAIN, VALIDATION, TEST = range(len(SPLITS))
UNDRAWN = -1
"""Split of a row without a key, until it is drawn by its number."""

_MOST_DAYS = 10_000
_ROUNDING = 1e-9

Codes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class ByDate:
    """Split by named held-out days; all earlier days are for training."""

    clock: Clock
    validation: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def column(self) -> str:
        """Column of the day."""
        return self.clock.column

    def codes(self, chunk: Chunk) -> Codes:
        """Return positions in `SPLITS`.

        Raises
        ------
        UserError
            A day is missing or has another form, or it is after the first held-out day without being held out.
        """
        texts, days = self.clock.days(chunk)
        if (texts.index < 0).any():
            raise chunk.error(self.column, texts.index < 0, "expected a day, for the split")
        code = np.full(len(days), TRAIN, dtype=np.int8)
        code[np.isin(days, self.validation)] = VALIDATION
        code[np.isin(days, self.test)] = TEST
        late = texts.lookup((code == TRAIN) & (days > min(*self.validation, *self.test)), False)
        if late.any():
            raise chunk.error(
                self.column, late, "which is after the first held-out day: name it in split.by_date, validation or test"
            )
        return texts.lookup(code, TRAIN)


@dataclass(frozen=True, slots=True)
class HeldOutShares:
    """Shares of draws in [0, 1) that are held out."""

    validation: float
    test: float

    def codes(self, draws: npt.NDArray[np.float64]) -> Codes:
        """Return the splits of draws, (n,)."""
        held_out = np.where(draws < self.validation + self.test, TEST, TRAIN)
        return np.where(draws < self.validation, VALIDATION, held_out).astype(np.int8)


@dataclass(frozen=True, slots=True)
class ByKey:
    """Split by the hash of a key: rows with equal keys stay together, and other rows have no influence."""

    column: str
    shares: HeldOutShares
    seed: int

    def codes(self, chunk: Chunk) -> Codes:
        """Return positions in `SPLITS`, and `UNDRAWN` for rows without a key."""
        keys = chunk.coded(self.column)
        return keys.lookup(self._codes_of(keys.values), UNDRAWN)

    def drawn(self, codes: Codes, numbers: npt.NDArray[np.int64]) -> Codes:
        """Return codes (n,) in which rows without a key have the draw of their number in the scenario."""
        undrawn = codes == UNDRAWN
        if not undrawn.any():
            return codes
        return np.where(undrawn, ByRow(self.shares, self.seed).codes(numbers), codes)

    def _codes_of(self, values: Texts) -> Codes:
        return self.shares.codes(hash_texts(values, self.seed) / 2.0**64)


@dataclass(frozen=True, slots=True)
class ByRow:
    """Split of each row by its number in the scenario."""

    shares: HeldOutShares
    seed: int

    def codes(self, numbers: npt.NDArray[np.int64]) -> Codes:
        """Return positions in `SPLITS`."""
        return self.shares.codes(_draws(numbers, self.seed))


@dataclass(frozen=True, slots=True)
class ByUserTime:
    """Split of each user's rows by time, which needs all rows of a scenario."""

    clock: Clock
    shares: HeldOutShares
    seed: int

    def codes_of_all(self, users: npt.NDArray[np.int64], times: npt.NDArray[np.float64]) -> Codes:
        """Return positions in `SPLITS` of all rows of a scenario (n,). Rows without a user are drawn one by one."""
        order = np.lexsort((times, users))
        ordered = users[order]
        first = np.searchsorted(ordered, ordered)
        count = np.searchsorted(ordered, ordered, side="right") - first
        share = (np.arange(len(order)) - first + 0.5) / np.maximum(count, 1) + _ROUNDING
        held_out = np.where(share >= 1 - self.shares.test, TEST, VALIDATION)
        codes = np.empty(len(order), dtype=np.int8)
        codes[order] = np.where(share >= 1 - self.shares.test - self.shares.validation, held_out, TRAIN)
        return np.where(users == NO_USER, ByRow(self.shares, self.seed).codes(np.arange(len(users))), codes)


Splitter: TypeAlias = ByDate | ByKey | ByRow | ByUserTime
"""Function from rows to positions in `SPLITS`: by a column, by the row's number (`ByRow`), or by all rows of a user."""


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """Split rule with all days known.

    Attributes
    ----------
    description
        Description for the manifest.
    parts
        Splitter by the word for ``{split}`` in a file's name; the key None stands for any file.
    """

    description: dict[str, JSON]
    parts: Mapping[str | None, Splitter]


def resolve_split(schema: DatasetSchema, read: ReadColumn) -> SplitPlan:
    """Return the plan for the schema's split rule.

    Parameters
    ----------
    schema
        Schema with the rule.
    read
        Function that reads a column. It is called for a form that the schema does not declare, and for `last_days`.

    Raises
    ------
    UserError
        A time has another form, or the data have too few days.
    """
    rule = schema.split
    if rule.by_date is not None:
        return SplitPlan(*_by_date(rule.by_date, clock_of(schema, rule.by_date.column, read), read))
    if rule.by_file is not None:
        return _by_file(rule.by_file)
    if (ordered := rule.by_user_time) is not None:
        clock = clock_of(schema, ordered.column, read)
        by_time = ByUserTime(clock, HeldOutShares(ordered.validation, ordered.test), ordered.seed)
        shares_of: dict[str, JSON] = {"validation": ordered.validation, "test": ordered.test}
        return SplitPlan({"by_user_time": ordered.column, **shares_of}, {None: by_time})
    drawn = rule.random or rule.by_user
    key = rule.random.key if rule.random is not None else schema.users
    if drawn is None:
        raise ValueError("a checked schema has a split rule")
    shares = HeldOutShares(drawn.validation, drawn.test)
    description: dict[str, JSON] = {"validation": drawn.validation, "test": drawn.test, "seed": drawn.seed}
    return SplitPlan({"key": key, **description}, {None: _drawn(key, shares, drawn.seed)})


def _drawn(key: str | None, shares: HeldOutShares, seed: int) -> Splitter:
    return ByRow(shares, seed) if key is None else ByKey(key, shares, seed)


def _by_file(rule: FileSplit) -> SplitPlan:
    parts: dict[str | None, Splitter] = {rule.test: ByRow(HeldOutShares(0.0, 1.0), 0)}
    description: dict[str, JSON] = {"by_file": [rule.train, rule.test]}
    if rule.cut is not None:
        parts[rule.train] = _drawn(rule.cut.key, HeldOutShares(rule.cut.share, 0.0), rule.cut.seed)
        description["validation"] = {"share": rule.cut.share, "key": rule.cut.key, "seed": rule.cut.seed}
    else:
        parts[rule.train] = ByRow(HeldOutShares(0.0, 0.0), 0)
        parts[rule.validation] = ByRow(HeldOutShares(1.0, 0.0), 0)
        description["validation"] = rule.validation
    return SplitPlan(description, parts)


def _by_date(rule: DateSplit, clock: Clock, read: ReadColumn) -> tuple[dict[str, JSON], dict[str | None, Splitter]]:
    """Return the description of the held-out days, and the splitter."""
    if rule.last_days is None:
        held_out = tuple(tuple(map(clock.day_of, named)) for named in (rule.validation, rule.test))
    else:
        held_out = _last(_days(clock, read), rule.last_days, clock)
    if twice := set(held_out[0]) & set(held_out[1]):
        raise UserError(f"split.by_date: {day_text(min(twice), clock.section)} is both in validation and in test")
    validation, test = ([day_text(day, clock.section) for day in days] for days in held_out)
    return {"by_date": rule.column, "validation": [*validation], "test": [*test]}, {None: ByDate(clock, *held_out)}


def _days(clock: Clock, read: ReadColumn) -> list[int]:
    """Return the days of all rows in their order."""
    found: set[int] = set()
    for chunk in read(clock.column):
        texts, days = clock.days(chunk)
        found |= set(days[texts.counts() > 0].tolist())
        if len(found) > _MOST_DAYS:
            raise UserError(f"column '{clock.column}' has more than {_MOST_DAYS:,} days: is it a time?")
    return sorted(found)


def _last(days: list[int], last: LastDays, clock: Clock) -> tuple[tuple[int, ...], tuple[int, ...]]:
    held_out = last.validation + last.test
    if len(days) <= held_out:
        named = ", ".join(day_text(day, clock.section) for day in days)
        raise UserError(
            f"column '{clock.column}' has {len(days)} days ({named}), "
            f"but {held_out} are held out and training needs one more"
        )
    return tuple(days[-held_out : -last.test]), tuple(days[-last.test :])


def _draws(numbers: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.float64]:
    """Return a reproducible draw in [0, 1) for each number (SplitMix64, Steele et al., OOPSLA 2014)."""
    mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(derive_seed(seed, "rows"))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) / 2.0**53
