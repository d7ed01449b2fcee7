"""One scenario's rows on disk, before anything is learned from its training rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.encode.encoders import NO_HASH
from pfmsmtrec_flwr.data.prepare.columns import (
    TIME,
    USER,
    field_output,
    is_hashed,
    label_output,
    left_out_output,
    number_output,
)
from pfmsmtrec_flwr.data.prepare.spool import Layout, Spool
from pfmsmtrec_flwr.data.schema.document import DatasetSchema, has
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection
from pfmsmtrec_flwr.data.store.manifest import NO_USER

BLOCK_ROWS = 65_536
TIMES_OF_ROWS = ("hour", "weekday")
"""Transforms that speak for a time of the row itself."""

SPLIT_CODES, LABELS, ROWS, HASHES, NUMBERS = "split", "labels", "rows", "hashes", "numbers"
USERS, TIMES, LEFT_OUT, DAYS = "users", "times", "left_out", "days"


@dataclass(frozen=True, slots=True)
class RowsLayout:
    """Columns of the arrays in which one scenario's rows are kept.

    Attributes
    ----------
    tasks
        Tasks, the columns of `LABELS`.
    declared
        Fields that are encoded at once, the columns of `ROWS`.
    hashed
        Fields whose hashes are kept, the columns of `HASHES`.
    numeric
        Numeric columns, the columns of `NUMBERS`.
    users
        True if users are kept.
    widths
        Number of columns of each field that has several. The numbers of values left out are the columns of `LEFT_OUT`.
    times
        True if times are kept, for a split by them.
    days
        True if days are kept, for the check of the splits.
    """

    tasks: tuple[str, ...]
    declared: tuple[str, ...]
    hashed: tuple[str, ...]
    numeric: tuple[str, ...]
    users: bool
    widths: Mapping[str, int] = field(default_factory=dict)
    times: bool = False
    days: bool = False

    @classmethod
    def of(cls, schema: DatasetSchema, scenario: str) -> RowsLayout:
        """Return a scenario's layout. All scenarios of a schema have the same fields and numeric columns."""
        hashed = tuple(name for name, spec in schema.fields.items() if is_hashed(spec))
        return cls(
            tasks=tuple(schema.tasks_of(scenario)),
            declared=tuple(name for name in schema.fields if name not in hashed),
            hashed=hashed,
            numeric=tuple(schema.numeric),
            users=schema.users is not None,
            widths={name: columns_of_field(spec) for name, spec in schema.fields.items() if spec.several is not None},
            times=schema.split.by_user_time is not None,
            days=column_of_days(schema) is not None,
        )

    def arrays(self) -> Layout:
        """Return the arrays of the spool."""
        layout: dict[str, tuple[str, int | None]] = {
            SPLIT_CODES: ("int8", None),
            LABELS: ("uint8", len(self.tasks)),
            ROWS: ("int32", sum(map(self.width, self.declared))),
            HASHES: ("uint64", sum(map(self.width, self.hashed))),
            NUMBERS: ("float64", len(self.numeric)),
        }
        layout |= {USERS: ("int64", None)} if self.users else {}
        layout |= {LEFT_OUT: ("int32", len(self.widths))} if self.widths else {}
        layout |= {DAYS: ("int32", None)} if self.days else {}
        return layout | ({TIMES: ("float64", None)} if self.times else {})

    def width(self, name: str) -> int:
        """Return the number of columns of a field or numeric column."""
        return self.widths.get(name, 1)

    def place_of(self, name: str) -> tuple[str, slice]:
        """Return the array and the columns of a field or numeric column."""
        for array, names in ((ROWS, self.declared), (HASHES, self.hashed), (NUMBERS, self.numeric)):
            if name in names:
                start = sum(map(self.width, names[: names.index(name)]))
                return array, slice(start, start + self.width(name))
        raise KeyError(name)


def columns_of_field(spec: FieldSection) -> int:
    """Return the number of columns of a field: one, or the largest number of values of a row."""
    return 1 if spec.several is None else spec.several.most


def column_of_days(schema: DatasetSchema) -> str | None:
    """Return the column of times whose days are kept; None for a split by date, and where no such column is known.

    It is the column of a split by time, or the first whose hour or weekday is a field. Other times need not be those of
    the rows, such as the year of a film.
    """
    rule = schema.split.by_user_time
    column: str | None
    if rule is not None:
        column = rule.column
    elif schema.split.by_date is None:
        of_fields = [spec.column or name for name, spec in schema.fields.items() if spec.transform in TIMES_OF_ROWS]
        column = next((each for each in of_fields if each in schema.times), None)
    else:
        column = None
    declared = schema.times.get(column or "")
    return None if declared is not None and declared.form == "number" else column


def scenario_arrays(
    schema: DatasetSchema,
    scenario: str,
    layout: RowsLayout,
    derived: Mapping[str, Array],
    rows: npt.NDArray[np.int64] | slice,
    split: npt.NDArray[np.int8],
) -> dict[str, Array]:
    """Return the arrays of a scenario's rows for the spool.

    Parameters
    ----------
    schema, scenario, layout
        Columns of the scenario; others are missing.
    derived
        Outputs by name, (m,) each.
    rows
        Rows of the outputs that belong to the scenario.
    split
        Split of these rows (n,).
    """
    count = len(split)

    def stacked(outputs: Sequence[tuple[str, int, bool]], dtype: str, missing: float) -> Array:
        columns = np.empty((count, sum(width for _, width, _ in outputs)), dtype=dtype)
        start = 0
        for output, width, there in outputs:
            own = columns[:, start : start + width]
            own[:] = derived[output][rows].reshape(count, width) if there else missing
            start += width
        return columns

    def fields(names: Sequence[str]) -> list[tuple[str, int, bool]]:
        return [
            (field_output(name), layout.width(name), has(schema.fields[name].scenarios, scenario)) for name in names
        ]

    numbers = [(number_output(name), 1, has(schema.numeric[name].scenarios, scenario)) for name in layout.numeric]
    arrays = {
        SPLIT_CODES: split,
        LABELS: stacked([(label_output(task), 1, True) for task in layout.tasks], "uint8", 0),
        ROWS: stacked(fields(layout.declared), "int32", 0),
        HASHES: stacked(fields(layout.hashed), "uint64", NO_HASH),
        NUMBERS: stacked(numbers, "float64", np.nan),
    }
    if layout.users:
        arrays[USERS] = derived[USER][rows] if USER in derived else np.full(count, NO_USER, dtype=np.int64)
    if layout.widths:
        left_out = [(left_out_output(name), 1, has(schema.fields[name].scenarios, scenario)) for name in layout.widths]
        arrays[LEFT_OUT] = stacked(left_out, "int32", 0)
    if layout.days:
        arrays[DAYS] = derived[DAYS][rows]
    if layout.times:
        arrays[TIMES] = derived[TIME][rows]
    return arrays


@dataclass(frozen=True, slots=True)
class ScenarioRows:
    """All spooled rows of a scenario, in order."""

    scenario: str
    layout: RowsLayout
    spools: tuple[Spool, ...]
    """Rows from the files."""
    made_up: Spool | None = None
    """Sampled negatives, which follow the rows from the files."""
    codes: npt.NDArray[np.int8] | None = None
    """Split of each row from the files, if it follows from all of them; None: as spooled."""

    def __len__(self) -> int:
        return sum(spool.rows for spool in self.all_spools())

    def all_spools(self) -> tuple[Spool, ...]:
        """Return the spools; sampled negatives are last."""
        return self.spools if self.made_up is None else (*self.spools, self.made_up)

    def blocks(self) -> Iterator[dict[str, Array]]:
        """Yield all rows, block by block."""
        start = 0
        for spool in self.spools:
            for block in spool.blocks(BLOCK_ROWS):
                if self.codes is not None:
                    block[SPLIT_CODES] = self.codes[start : start + len(block[SPLIT_CODES])]
                start += len(block[SPLIT_CODES])
                yield block
        if self.made_up is not None:
            yield from self.made_up.blocks(BLOCK_ROWS)

    def whole(self, array: str) -> Array:
        """Return one array of all rows from the files, in memory."""
        return np.concatenate([spool.column(array) for spool in self.spools])
