"""What each column of an unknown table may be for, guessed from its name and its values.

A guess that goes wrong must do so on the safe side: what may identify a person is left out or stays local.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from pfmsmtrec_flwr.data.draft.features import (
    LONGEST_VALUE,
    Guess,
    described,
    feature_of,
    is_user,
    percent,
    scalar,
)
from pfmsmtrec_flwr.data.draft.names import DAY, ITEM, LABEL, SCENARIO, TIME, USER, personal, spoken, subject, words
from pfmsmtrec_flwr.data.draft.profile import Column, Sample, all_match, share_matching
from pfmsmtrec_flwr.data.schema.sections import (
    DateSplit,
    FieldSpec,
    LastDays,
    RandomSplit,
    Scalar,
    ShareSplit,
    SplitSpec,
    TaskSpec,
)
from pfmsmtrec_flwr.errors import UserError

_DAY_TEXT = r"^(?:19|20)\d{2}([-/.]?)(?:0[1-9]|1[0-2])[-/.]?(?:0[1-9]|[12]\d|3[01])(?:[T ]00:00:00(?:\.0+)?)?$"
_TIME_TEXT = r"^\d{4}[-/.]\d{1,2}[-/.]\d{1,2}[T ]\d{1,2}:"
_PERSONAL_TEXT = r"^(?:[^@\s]+@[^@\s]+\.[^@\s]+|(?:\d{1,3}\.){3}\d{1,3})$"

_SCENARIOS = 30
_SCENARIO_ROWS = 30
_SCENARIO_SHARE = 0.01
_DAYS = 3
_HELD_OUT = 0.1


@dataclass(frozen=True, slots=True)
class Scenarios:
    """The column of the scenarios."""

    column: Column
    names: dict[Scalar, str]
    """Value: name of the scenario."""
    rare: tuple[str, ...]
    """Values with too few rows."""
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of all columns."""

    tasks: tuple[Guess, ...]
    scenarios: Scenarios | None
    could_be_scenarios: tuple[Column, ...]
    users: Column | None
    split: SplitSpec
    split_reason: str
    features: tuple[Guess, ...]
    left_out: tuple[tuple[str, str], ...]
    """Names of columns, and why."""


def guess(sample: Sample) -> Plan:
    """Guess what each column of a table is for.

    Raises
    ------
    UserError
        No column can be a label, or none a field.
    """
    left_out = dict(sample.unreadable)
    remaining: list[Column] = []
    for column in sample.columns:
        if (reason := _useless(column, sample)) is not None:
            left_out[column.name] = reason
        else:
            remaining.append(column)
    tasks = _tasks(remaining)
    remaining = _without(remaining, [task.column for task in tasks])
    day = _day(remaining, sample)
    for column in _without(remaining, [day]):
        if (reason := _of_time(column)) is not None:
            left_out[column.name] = reason
    remaining = [column for column in remaining if column is not day and column.name not in left_out]
    users = _users(remaining)
    candidates = _candidates(_without(remaining, [users]), sample)
    scenarios = _scenarios(candidates, sample)
    others = tuple(column for column in candidates if scenarios is None or column is not scenarios.column)
    if scenarios is not None:
        remaining = _without(remaining, [scenarios.column])
    features: list[Guess] = []
    for column in remaining:
        feature = feature_of(column)
        if isinstance(feature, Guess):
            features.append(feature)
        else:
            left_out[column.name] = feature
    if not any(isinstance(feature.spec, FieldSpec) for feature in features):
        raise UserError(
            f"{sample.folder / sample.table.files[0]}: got no column that can be a categorical field, expected an id, "
            "a category or small whole numbers beside label and scenario: add one to the table"
        )
    split, split_reason = _split(day, users)
    return Plan(tasks, scenarios, others, users, split, split_reason, tuple(features), _in_order(left_out, sample))


def _useless(column: Column, sample: Sample) -> str | None:
    if not column.distinct:
        return "no row has a value"
    word = personal(column.name)
    if word is not None and column.yes_and_no is None:
        return f"name holds '{word}': it may identify a person"
    if column.text and share_matching(column.values, _PERSONAL_TEXT) > 0.5:
        return "its values look like addresses: they may identify persons"
    if column.distinct == 1 and not column.missing and (sample.whole or not _looks_like_day(column)):
        return "the same value in every row" + ("" if sample.whole else " that was looked at")
    return None


def _tasks(columns: Sequence[Column]) -> tuple[Guess, ...]:
    candidates = [column for column in columns if column.yes_and_no is not None and not column.missing]
    if not candidates:
        raise UserError(
            f"no column can be a label: got {', '.join(column.name for column in columns[:20]) or 'none that varies'}, "
            "expected one that holds just 0 and 1, without gaps: add the label to the table"
        )
    named = [column for column in candidates if spoken(column.name, LABEL) is not None]
    if named:
        return tuple(
            _task(column, f"name holds '{spoken(column.name, LABEL)}'")
            for column in sorted(named, key=_positive_share, reverse=True)
        )
    return (_task(candidates[-1], "no name says what is a label, and this is the last such column: is it the one?"),)


def _positive_share(column: Column) -> float:
    assert column.yes_and_no is not None
    return column.share(column.yes_and_no[0])


def _task(column: Column, why: str) -> Guess:
    assert column.yes_and_no is not None
    yes, no = (scalar(value) for value in column.yes_and_no)
    spec = TaskSpec(column=column.name)
    if (yes, no) != (1, 0):
        spec = TaskSpec(column=column.name, positive=(yes,), negative=(no,))
    rate = f"{percent(_positive_share(column))} {'ones' if yes == 1 else yes}"
    return Guess(column, spec, f"2 values, {no} and {yes}, {rate}; {why}")


def _looks_like_day(column: Column) -> bool:
    return bool(column.distinct) and all_match(column.values, _DAY_TEXT)


def _day(columns: Sequence[Column], sample: Sample) -> Column | None:
    """Return the column of the day, if there is one; of several, one whose name says just that."""
    found = [
        column
        for column in columns
        if not column.missing
        and column.distinct >= (_DAYS if sample.whole else 1)
        and (_looks_like_day(column) or _counts_days(column))
    ]
    return min(found, key=lambda column: (len(words(column.name)), not _looks_like_day(column)), default=None)


def _counts_days(column: Column) -> bool:
    """Return whether a column numbers days; seven values may be days of the week."""
    return column.integers and words(column.name) in [[word] for word in DAY] and column.span()[1] > 7


def _of_time(column: Column) -> str | None:
    """Return why a column that tells a time is left out."""
    if _looks_like_day(column):
        return "a day; a model learns nothing from days that lie in the past"
    said = spoken(column.name, TIME)
    seconds = column.integers and said is not None and column.span()[0] >= 1e9 and column.span()[1] < 2e13
    if seconds or (column.text and all_match(column.values, _TIME_TEXT)):
        return "a point in time; make a day column of it for the split, and an hour (0 to 23) for a field"
    if column.text and subject(column.name, DAY) is not None and share_matching(column.values, r"\d") > 0.5:
        return "a day, it seems; for the split write days so that they sort, such as 2024-01-31"
    return None


def _users(columns: Sequence[Column]) -> Column | None:
    found = [column for column in columns if is_user(column)]
    return min(found, key=lambda column: USER.index(str(subject(column.name, USER))), default=None)


def _candidates(columns: Sequence[Column], sample: Sample) -> list[Column]:
    """Return the columns that may say the scenario, the likeliest first."""
    found = [
        column
        for column in columns
        if 2 <= column.distinct <= _SCENARIOS
        and column.yes_and_no is None
        and (column.text or column.integers)
        and max(map(len, column.values)) <= LONGEST_VALUE
        and len(_frequent(column, sample)) > 1
    ]

    def rank(column: Column) -> tuple[int, bool]:
        word = subject(column.name, SCENARIO)
        return (len(SCENARIO) if word is None else SCENARIO.index(word)), not _is_kind(column)

    return sorted(found, key=rank)


def _is_kind(column: Column) -> bool:
    """Return whether a column without a telling name may be the scenario: most small numbers are something else."""
    return column.text and subject(column.name, (*ITEM, *USER)) is None


def _frequent(column: Column, sample: Sample) -> list[str]:
    fewest = max(_SCENARIO_ROWS, _SCENARIO_SHARE * sample.rows)
    return [value for value, count in zip(column.values, column.counts, strict=True) if count >= fewest]


def _scenarios(candidates: Sequence[Column], sample: Sample) -> Scenarios | None:
    """Take the likeliest column, if it is likely at all."""
    if not candidates:
        return None
    column = candidates[0]
    word = subject(column.name, SCENARIO)
    if word is None and not _is_kind(column):
        return None
    taken: set[str] = set()
    names: dict[Scalar, str] = {}
    for value in _sorted(_frequent(column, sample), column):
        names[scalar(value)] = unique(folder_name(value, column.name), taken)
    rare = tuple(value for value in column.values if scalar(value) not in names)
    why = f"name holds '{word}'" if word else "no name says what the scenario is, and this is a text with few values"
    return Scenarios(column, names, rare, f"{described(column)}; {why}")


def _sorted(values: Sequence[str], column: Column) -> list[str]:
    return sorted(values, key=int) if column.integers else sorted(values)


def folder_name(value: str, column: str) -> str:
    """Return a name for a scenario that is safe as a folder's name; numbers get the column's name before them."""
    plain = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9]+$|^[^A-Za-z0-9]+", "", re.sub(r"[^A-Za-z0-9._-]+", "-", plain))
    if re.search(r"[A-Za-z]", name):
        return name
    prefix = re.sub(r"[^A-Za-z0-9]+", "", column) or "scenario"
    return f"{prefix}{name}"


def unique(name: str, taken: set[str]) -> str:
    """Return a name that was not taken yet, upper and lower case alike, and take it."""
    found, number = name, 2
    while found.lower() in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found.lower())
    return found


def _split(day: Column | None, users: Column | None) -> tuple[SplitSpec, str]:
    if day is not None:
        ends = _sorted(day.values.tolist(), day)
        days = "1 day" if day.distinct == 1 else f"{day.distinct:,} days"
        rule = SplitSpec(by_date=DateSplit(column=day.name, last_days=LastDays(validation=1, test=1)))
        return rule, f"{days}, {ends[0]} to {ends[-1]}; the last one is the test, the one before it for validation"
    if users is not None:
        shares = ShareSplit(validation=_HELD_OUT, test=_HELD_OUT)
        return SplitSpec(by_user=shares), "no column says the day, which is nearer to use; a user has one split"
    rows = RandomSplit(validation=_HELD_OUT, test=_HELD_OUT)
    return SplitSpec(random=rows), "no column says the day or the user, so each row is drawn by itself"


def _without(columns: Sequence[Column], gone: Sequence[Column | None]) -> list[Column]:
    return [column for column in columns if not any(column is each for each in gone)]


def _in_order(left_out: dict[str, str], sample: Sample) -> tuple[tuple[str, str], ...]:
    """Return what was left out, as the table's columns stand."""
    names = [name for name, _ in sample.unreadable] + [column.name for column in sample.columns]
    return tuple((name, left_out[name]) for name in names if name in left_out)
