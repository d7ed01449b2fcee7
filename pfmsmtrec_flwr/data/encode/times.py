"""Points in time from the texts of a column, which all have one form, whole arrays at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pfmsmtrec_flwr.data.encode.encoders import Integers, Texts, matching
from pfmsmtrec_flwr.data.schema.time_section import EPOCH_FORMS, FORMS, TimeForm, TimeSection

Points: TypeAlias = npt.NDArray[np.datetime64]
"""Local times in microseconds, (distinct,); not-a-time for a text of another form."""

NO_DAY = np.iinfo(np.int64).min
"""Day of a text of another form."""

_YEAR, _TWO = r"((?:19|20)\d{2})", r"(\d{2})"
_TIME = r"([T ]\d{2}(?::\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?)?)?"
_ZONE = r" ?(Z|UTC|[-+]\d{2}(?::?\d{2})?)"
_COUNT = r"^\d{1,18}$"
_NANOSECONDS = r"^\d{18,19}$"
_ENDS_IN_YEAR = r"^\d{3,4}(?:19|20)\d{2}$"

_PER_SECOND = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_EXAMPLE = datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC)
_EARLIEST, _LATEST = 1e8, 4.2e9  # seconds since 1970, of the years 1973 and 2103


@dataclass(frozen=True, slots=True)
class _Writing:
    """How a form writes a time.

    Attributes
    ----------
    example, day
        Patterns of `strftime` for an example and for a day.
    pattern
        Regular expression (RE2).
    iso
        Its groups in the order of ISO 8601.
    digits
        Number of digits of a form that may begin with zeros, which a canonical text lacks.
    """

    example: str
    day: str
    pattern: str
    iso: str
    digits: int = 0


def _date(day: str, iso: str) -> _Writing:
    """Return how a date with signs between its parts is written, with or without a time of day."""
    pattern = day.replace(".", r"\.").replace("%Y", _YEAR).replace("%m", _TWO).replace("%d", _TWO)
    return _Writing(day, day, f"^{pattern}{_TIME}$", iso)


def _digits(example: str, iso: str) -> _Writing:
    """Return how a time without signs between its parts is written."""
    pattern = re.sub("%[mdHMS]", lambda _: _TWO, example.replace("%Y", _YEAR))
    return _Writing(example, example if example == "%Y%m%d" else "%Y-%m-%d", f"^{pattern}$", iso)


_WRITINGS: dict[str, _Writing] = {
    "iso": _date("%Y-%m-%d", r"\1-\2-\3\4"),
    "iso-zone": _Writing("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d", f"^{_YEAR}-{_TWO}-{_TWO}{_TIME}{_ZONE}$", r"\1-\2-\3\4\5"),
    "YYYY/MM/DD": _date("%Y/%m/%d", r"\1-\2-\3\4"),
    "YYYY.MM.DD": _date("%Y.%m.%d", r"\1-\2-\3\4"),
    "DD.MM.YYYY": _date("%d.%m.%Y", r"\3-\2-\1\4"),
    "DD-MM-YYYY": _date("%d-%m-%Y", r"\3-\2-\1\4"),
    "DD/MM/YYYY": _date("%d/%m/%Y", r"\3-\2-\1\4"),
    "MM/DD/YYYY": _date("%m/%d/%Y", r"\3-\1-\2\4"),
    "YYYYMMDD": _digits("%Y%m%d", r"\1-\2-\3"),
    "YYYYMMDDHH": _digits("%Y%m%d%H", r"\1-\2-\3T\4"),
    "YYYYMMDDHHMM": _digits("%Y%m%d%H%M", r"\1-\2-\3T\4:\5"),
    "YYYYMMDDHHMMSS": _digits("%Y%m%d%H%M%S", r"\1-\2-\3T\4:\5:\6"),
    "YYMMDDHH": _Writing("%y%m%d%H", "%Y-%m-%d", f"^{_TWO}{_TWO}{_TWO}{_TWO}$", r"20\1-\2-\3T\4", digits=8),
}


def points_of(texts: Texts, section: TimeSection) -> Points:
    """Return the local times of canonical texts; the form `number` has none.

    Days and hours of a point are those of the section's zone, or as written for a form without a zone.
    """
    if section.form == "number":
        return np.full(len(texts), "NaT", dtype="datetime64[us]")
    if section.form in EPOCH_FORMS:
        utc = _since_1970(texts, section.form)
    else:
        iso: pd.Index[str] = pd.Index(_rewritten(texts, _writing(section.form)), dtype=object)
        utc = pd.to_datetime(iso, format="ISO8601", errors="coerce", utc=True)
    return np.asarray(utc.tz_convert(section.zone or "UTC").tz_localize(None), dtype="datetime64[us]")


def days_of(texts: Texts, section: TimeSection) -> Integers:
    """Return the days of canonical texts, which may be compared: days since 1970, or the count of the form `number`."""
    if section.form == "number":
        counts = matching(texts, _COUNT)
        return np.where(counts, np.where(counts, texts, "0").astype(np.int64), NO_DAY)
    return days_of_points(points_of(texts, section))


def days_of_points(points: Points) -> Integers:
    """Return the days of points in time: days since 1970."""
    days = points.astype("datetime64[D]").astype(np.int64)
    return np.where(np.isnat(points), NO_DAY, days)


def day_text(day: int, section: TimeSection) -> str:
    """Return a day as the form writes it, and as ISO 8601 for a form that writes no plain days."""
    if section.form == "number":
        return str(day)
    return (date(1970, 1, 1) + timedelta(days=day)).strftime(_writing(section.form).day)


def is_since_1970(numbers: npt.NDArray[np.float64], form: TimeForm) -> npt.NDArray[np.bool_]:
    """Return which numbers are times in a unit such as seconds: those from 1973 to 2103, which no other unit has."""
    with np.errstate(invalid="ignore"):
        return (numbers >= _EARLIEST * _PER_SECOND[form]) & (numbers < _LATEST * _PER_SECOND[form])


def part_of(points: Points, part: str) -> Texts:
    """Return a part of each point as text: hour 0 to 23, weekday 0 (Monday) to 6, day of the month 1 to 31, or year."""
    numbers = getattr(pd.DatetimeIndex(points), "day_of_week" if part == "weekday" else part)
    return np.asarray(numbers.fillna(0).astype(np.int64).astype(str), dtype=object)


def example_of(form: TimeForm) -> str:
    """Return a value of a form."""
    if form == "number":
        return "8"
    if form in EPOCH_FORMS:
        return f"{_EXAMPLE.timestamp() * _PER_SECOND[form]:.0f}"
    return _EXAMPLE.strftime(_writing(form).example)


def fitting_forms(texts: Texts) -> dict[TimeForm, npt.NDArray[np.bool_]]:
    """Return which texts have each form, the likeliest form first, without forms that none has and `number`."""
    fits: dict[TimeForm, npt.NDArray[np.bool_]] = {}
    for form in FORMS:
        fit = ~np.isnat(points_of(texts, TimeSection(form=form)))
        if form == "YYMMDDHH":  # a number that is too short is none, nor is a date such as 31122023
            fit &= matching(texts, r"^\d{8}$") & ~matching(texts, _ENDS_IN_YEAR).all()
        if fit.any():
            fits[form] = fit
    return fits


def _writing(form: TimeForm) -> _Writing:
    return _WRITINGS.get(form, _WRITINGS["iso"])


def _since_1970(texts: Texts, form: TimeForm) -> pd.DatetimeIndex:
    numbers = np.asarray(pd.to_numeric(texts, errors="coerce"), dtype=np.float64)
    there = is_since_1970(numbers, form)
    microseconds = np.where(there, numbers, 0.0) * (1e6 / _PER_SECOND[form])
    points = np.floor(microseconds).astype(np.int64)
    if form == "nanoseconds":  # a 64-bit float has steps of 256 nanoseconds there
        whole = there & matching(texts, _NANOSECONDS)
        points[whole] = texts[whole].astype(np.int64) // 1000
    points = points.astype("datetime64[us]")
    points[~there] = np.datetime64("NaT")
    return pd.DatetimeIndex(points).tz_localize("UTC")


def _rewritten(texts: Texts, writing: _Writing) -> Texts:
    """Return texts as ISO 8601, in which a time without a zone counts as UTC; a text of another form is missing."""
    array = pa.array(texts, type=pa.string())
    if writing.digits:
        array = pc.utf8_lpad(array, writing.digits, padding="0")
    fits = pc.match_substring_regex(array, writing.pattern)
    iso = pc.replace_substring_regex(array, writing.pattern, writing.iso)
    for sign, plain in ((",", "."), ("UTC", "Z")):
        iso = pc.replace_substring(iso, sign, plain)
    known = pc.if_else(fits, iso, pa.scalar(None, pa.string()))
    return np.asarray(known.to_numpy(zero_copy_only=False), dtype=object)
