"""Section of a schema for a column of times: its form, and the zone in which its days and hours are counted."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from pfmsmtrec_flwr.validation import Section

TimeForm: TypeAlias = Literal[
    "iso",
    "iso-zone",
    "YYYY/MM/DD",
    "YYYY.MM.DD",
    "DD.MM.YYYY",
    "DD-MM-YYYY",
    "DD/MM/YYYY",
    "MM/DD/YYYY",
    "YYYYMMDD",
    "YYYYMMDDHH",
    "YYYYMMDDHHMM",
    "YYYYMMDDHHMMSS",
    "YYMMDDHH",
    "seconds",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "number",
]

FORMS: tuple[TimeForm, ...] = get_args(TimeForm)
"""All forms; of two that a value may have, the likelier first."""
EPOCH_FORMS: tuple[TimeForm, ...] = ("seconds", "milliseconds", "microseconds", "nanoseconds")
"""Forms of numbers since 1970."""
TIME_PARTS = ("hour", "weekday", "day", "year")
"""Transforms that take a part of a time."""


def lacks(form: TimeForm, part: str) -> bool:
    """Return whether no time of a form has a part, such as a day its hour."""
    return form == "number" or (form == "YYYYMMDD" and part == "hour")


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(f"'{name}' is no time zone of this machine, expected one such as Europe/Amsterdam") from None
    return name


class TimeSection(Section):
    """A column of times. All its values have one form; a value of another form is an error."""

    form: TimeForm
    """iso: ``2024-01-31``, or ``2024-01-31 23:59:59`` with a space or a T. iso-zone: the same with Z or ``+01:00`` at
    the end. A time of day may also follow a date with dots, slashes, or the day first. YYMMDDHH: ``24013123``. seconds:
    numbers since 1970, likewise milliseconds, microseconds and nanoseconds. number: any number that rises with time,
    such as a count of days; a day of the month or week is none."""
    zone: Annotated[str, Field(min_length=1), AfterValidator(_known_zone)] | None = None
    """Time zone such as Europe/Amsterdam in which days and hours are counted, for iso-zone and numbers since 1970; the
    default is UTC. The other forms are taken as they are written."""

    @model_validator(mode="after")
    def _zone_of_a_moment(self) -> TimeSection:
        if self.zone is not None and self.form not in ("iso-zone", *EPOCH_FORMS):
            raise ValueError(f"zone is for iso-zone and numbers since 1970; {self.form} is taken as it is written")
        return self
