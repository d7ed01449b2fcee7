"""Times of a column of a table: its form is declared or found, and every value must have it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.encode.encoders import CodedColumn, Integers, Texts
from pfmsmtrec_flwr.data.encode.times import (
    NO_DAY,
    Points,
    days_of,
    days_of_points,
    example_of,
    fitting_forms,
    is_since_1970,
    points_of,
)
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.spelling import canonical
from pfmsmtrec_flwr.data.schema.time_section import EPOCH_FORMS, TimeSection
from pfmsmtrec_flwr.data.schema.values import Scalar
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger

ReadColumn: TypeAlias = Callable[[str], Generator[Chunk, None, None]]
"""Function that reads a column of all files as text, chunk by chunk."""

_LOOKED_AT = 10_000


@dataclass(frozen=True, slots=True)
class Clock:
    """Column of times."""

    column: str
    section: TimeSection

    @property
    def numeric(self) -> bool:
        """True if the times are numbers that rise with time."""
        return self.section.form in (*EPOCH_FORMS, "number")

    def days(self, chunk: Chunk) -> tuple[CodedColumn, Integers]:
        """Return the column and the day of each distinct value.

        Raises
        ------
        UserError
            A value has another form.
        """
        texts = chunk.coded(self.column)
        if self.section.form == "number":
            days = days_of(texts.values, self.section)
        else:
            days = days_of_points(chunk.points(self.column, self.section))
        self._refuse(chunk, texts.lookup(days == NO_DAY, False))
        return texts, days

    def points(self, chunk: Chunk, texts: CodedColumn) -> Points:
        """Return the point in time of each distinct value of the column; see `days`."""
        own = texts.values is chunk.coded(self.column).values
        points = chunk.points(self.column, self.section) if own else points_of(texts.values, self.section)
        self._refuse(chunk, texts.lookup(np.isnat(points), False))
        return points

    def order(self, chunk: Chunk) -> npt.NDArray[np.float64]:
        """Return numbers that rise with time (n,), not-a-number for missing values; see `days`."""
        if not self.numeric:
            texts = chunk.coded(self.column)
            return texts.lookup(self.points(chunk, texts).astype(np.int64).astype(np.float64), np.nan)
        times = chunk.numbers(self.column)
        if self.section.form != "number":
            self._refuse(chunk, ~np.isnan(times) & ~is_since_1970(times, self.section.form))
        return times

    def day_of(self, value: Scalar) -> int:
        """Return the day that a schema names, in the form of the column or as ISO 8601.

        Raises
        ------
        UserError
            The value is no day.
        """
        text = np.array([canonical(value)], dtype=object)
        forms = [self.section] if self.section.form == "number" else [self.section, TimeSection(form="iso")]
        days = [day for form in forms if (day := int(days_of(text, form)[0])) != NO_DAY]
        if not days:
            raise UserError(f"split.by_date: got the day '{value}', expected one such as {example_of(forms[-1].form)}")
        return days[0]

    def _refuse(self, chunk: Chunk, wrong: npt.NDArray[np.bool_]) -> None:
        if wrong.any():
            form = self.section.form
            raise chunk.error(
                self.column, wrong, f"expected a time as the others, in the form {form}, such as {example_of(form)}"
            )


def clock_of(schema: DatasetSchema, column: str, read: ReadColumn) -> Clock:
    """Return the clock of a column, whose form is declared, or that of its first rows.

    Raises
    ------
    UserError
        The first rows have no form in common, or several.
    """
    declared = schema.times.get(column)
    if declared is not None:
        return Clock(column, declared)
    with closing(read(column)) as chunks:
        for chunk in chunks:
            texts = chunk.coded(column)
            values = texts.values[texts.counts() > 0][:_LOOKED_AT]
            if len(values):
                return Clock(column, _found(chunk, column, texts, values))
    raise UserError(f"column '{column}' has no value in any row, expected a day or a time, for the split")


def _found(chunk: Chunk, column: str, texts: CodedColumn, values: Texts) -> TimeSection:
    """Return the form that all values have, or refuse the first value of another form than the most."""
    fits = fitting_forms(values)
    if not fits:
        expected = (
            "expected a day or a time such as 2024-01-31, 20240131 or 1706745599, no day of the month; a number that "
            f"counts on needs times: {{{column}: {{form: number}}}}"
        )
        raise chunk.error(column, texts.index >= 0, expected)
    most = max(int(fit.sum()) for fit in fits.values())
    likely = [form for form, fit in fits.items() if fit.sum() == most]
    if {"DD/MM/YYYY", "MM/DD/YYYY"} <= set(likely):
        expected = f"day or month first? The schema must say it: times: {{{column}: {{form: DD/MM/YYYY}}}}"
        raise chunk.error(column, texts.index >= 0, expected)
    section = TimeSection(form=likely[0])
    Clock(column, section).days(chunk)
    logger.info("column '%s': times of the form %s", column, section.form)
    return section
