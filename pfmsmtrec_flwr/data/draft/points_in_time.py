"""Columns of points in time: a split can use them, a model learns nothing from them.

New rows lie later than all that a model has seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pfmsmtrec_flwr.data.draft.names import (
    DAY_WORDS,
    ID_WORDS,
    ITEM_DAY_WORDS,
    ITEM_WORDS,
    TIME_WORDS,
    USER_WORDS,
    spoken,
    subject,
    words,
)
from pfmsmtrec_flwr.data.draft.profile import ColumnProfile, share_matching
from pfmsmtrec_flwr.data.encode.encoders import Integers, Texts
from pfmsmtrec_flwr.data.encode.times import NO_DAY, days_of, fitting_forms, points_of
from pfmsmtrec_flwr.data.schema.time_section import EPOCH_FORMS, TimeForm, TimeSection, lacks

_LOOKED_AT = 1000
_FEW_VALUES = 50
_FEWEST_DIGITS = 3  # values of a form without signs, below which it may be an accident
_TEN_YEARS = np.timedelta64(3653, "D")
_LIKELY = np.datetime64("2010-01-01"), np.datetime64("2050-01-01")
_MONTH_DAYS = 31
_WEEK_DAYS = 7
_FIRST_LATE_DAY = 28

_OTHER_DATE = (
    r"^(?:(?:19|20)\d{2}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)\d{2})(?:\D|$)"
    r"|(?i)\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b.*\b(?:19|20)\d{2}\b"
)
_MONTH = r"^(?:19|20)\d{2}[-/.](?:0[1-9]|1[0-2])$"
_WRITE = "in a form that cannot be read; for the split write times such as 2024-01-31 23:59:59"


@dataclass(frozen=True, slots=True)
class TimeGuess:
    """Column of points in time, or of a number that counts days."""

    column: ColumnProfile
    section: TimeSection
    days: Integers
    """Days of the values, ascending; empty if a value has another form."""
    misfits: str = ""
    """Number of rows of another form, with an example; empty if there are none."""

    @property
    def of_rows(self) -> bool:
        """True if it may be the time of the rows: each row has one, and its name speaks of no other time."""
        return bool(len(self.days)) and not self.column.missing and spoken(self.column.name, ITEM_DAY_WORDS) is None

    def why_no_feature(self) -> str:
        """Return the reason to leave the column out."""
        form, name = self.section.form, self.column.name
        if form == "number":
            return f"days of a month, or a count of days? For a count, times: {{{name}: {{form: number}}}} in the split"
        return (
            f"a point in time ({form}), and new rows lie later; for a field, times: {{{name}: {{form: {form}}}}} and "
            f"transform: {parts_of(form)}"
        ) + (f"; {self.misfits}: write all in one form" if self.misfits else "")


def parts_of(form: TimeForm) -> str:
    """Return the parts of a time of a form that a field may have, as alternatives."""
    return "weekday or day" if lacks(form, "hour") else "hour, weekday or day"


def time_of(column: ColumnProfile) -> TimeGuess | str | None:
    """Return the form of a column of times, the reason why it is of no use, or None for another column."""
    form = _likely_form(column)
    if form is not None:
        section = TimeSection(form=form)
        days = days_of(column.values, section)
        if form == "DD/MM/YYYY" and (days_of(column.values, TimeSection(form="MM/DD/YYYY")) != NO_DAY).all():
            return (
                f"a point in time; day or month first? times: {{{column.name}: {{form: {form}}}}} in the split says it"
            )
        if (others := days == NO_DAY).any():
            count, example = int(column.counts[others].sum()), column.values[others][0]
            misfits = f"{count:,} {'row has' if count == 1 else 'rows have'} another form, such as {example}"
            return TimeGuess(column, section, days[:0], misfits)
        return TimeGuess(column, section, np.unique(days))
    if _counts_days(column):
        days = np.unique(days_of(column.values, TimeSection(form="number")))
        certain = not len(days) or days[-1] > _MONTH_DAYS or days[-1] < _FIRST_LATE_DAY
        return TimeGuess(column, TimeSection(form="number"), days if certain else days[:0])
    if not column.text:
        return None
    if share_matching(column.values, _OTHER_DATE) > 0.5:
        return f"a point in time {_WRITE}"
    if share_matching(column.values, _MONTH) > 0.5:
        return "a month, and new rows lie in later months"
    if subject(column.name, DAY_WORDS) is not None and share_matching(column.values, r"\d") > 0.5:
        return f"probably a day {_WRITE}"
    return None


def _likely_form(column: ColumnProfile) -> TimeForm | None:
    """Return the form that the values of most rows have, if they cannot be other numbers by accident."""
    values, counts = column.values[:_LOOKED_AT], column.counts[:_LOOKED_AT]
    fits = fitting_forms(values)
    form = max(fits, key=lambda form: int(counts[fits[form]].sum()), default=None)
    if form is None or 2 * counts[fits[form]].sum() <= counts.sum():
        return None
    return form if column.text or _no_accident(column, form, values[fits[form]]) else None


def _no_accident(column: ColumnProfile, form: TimeForm, values: Texts) -> bool:
    if spoken(column.name, (*TIME_WORDS, *DAY_WORDS, "hour")) is not None:
        return True
    if _is_named_id(column.name):
        return False
    if form not in EPOCH_FORMS:
        return form == "YYYYMMDD" or len(values) >= _FEWEST_DIGITS
    points = points_of(values, TimeSection(form=form))
    first, last = points.min(), points.max()
    likely = _LIKELY[0] <= first and last < _LIKELY[1] and last - first < _TEN_YEARS
    return bool(likely and column.distinct > _FEW_VALUES)


def _is_named_id(name: str) -> bool:
    return subject(name, (*ITEM_WORDS, *USER_WORDS)) is not None or not set(ID_WORDS).isdisjoint(words(name)[-1:])


def _counts_days(column: ColumnProfile) -> bool:
    """Return whether a column numbers days; seven values may be days of the week."""
    return (
        column.integers
        and words(column.name) in [[word] for word in DAY_WORDS]
        and column.span()[0] >= 0
        and column.span()[1] > _WEEK_DAYS
    )
