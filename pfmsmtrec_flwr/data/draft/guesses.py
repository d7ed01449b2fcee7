"""Guesses of the use of each column of an unknown table, from its name and values.

A wrong guess must be on the safe side: what may identify a person is left out or stays local.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from pfmsmtrec_flwr.data.draft.column_forms import MISSING_WORDS
from pfmsmtrec_flwr.data.draft.features import (
    LONGEST_VALUE,
    ColumnGuess,
    described,
    feature_of,
    is_user,
    percent,
    scalar,
)
from pfmsmtrec_flwr.data.draft.names import (
    ITEM_WORDS,
    LABEL_WORDS,
    SCENARIO_WORDS,
    USER_WORDS,
    personal,
    spoken,
    subject,
    words,
)
from pfmsmtrec_flwr.data.draft.own_files import OwnFiles
from pfmsmtrec_flwr.data.draft.points_in_time import TimeGuess, time_of
from pfmsmtrec_flwr.data.draft.profile import ColumnProfile, Sample, share_matching
from pfmsmtrec_flwr.data.encode.times import day_text
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection
from pfmsmtrec_flwr.data.schema.split_sections import DateSplit, LastDays, RandomSplit, ShareSplit, SplitSection
from pfmsmtrec_flwr.data.schema.task_sections import TaskSection
from pfmsmtrec_flwr.data.schema.time_section import TimeSection
from pfmsmtrec_flwr.data.schema.values import Scalar
from pfmsmtrec_flwr.errors import UserError

_PERSONAL_TEXT = r"^(?:[^@\s]+@[^@\s]+\.[^@\s]+|(?:\d{1,3}\.){3}\d{1,3})$"

_NO_VALUES = {word.lower() for word in MISSING_WORDS}
_SCENARIOS = 30
_SCENARIO_ROWS = 30
_SCENARIO_SHARE = 0.01
_DAYS = 3
_HELD_OUT = 0.1


@dataclass(frozen=True, slots=True)
class ScenarioGuess:
    """Guess of the scenario column."""

    column: ColumnProfile
    names: dict[Scalar, str]
    """Name of the scenario for each value."""
    rare: tuple[str, ...]
    """Values with too few rows for a scenario."""
    reason: str


@dataclass(frozen=True, slots=True)
class ColumnRoles:
    """Uses of all columns of a table."""

    tasks: tuple[ColumnGuess, ...]
    scenarios: ScenarioGuess | None
    could_be_scenarios: tuple[ColumnProfile, ...]
    users: ColumnProfile | None
    times: dict[str, TimeSection]
    """Forms of the columns of times."""
    split: SplitSection
    split_reason: str
    features: tuple[ColumnGuess, ...]
    left_out: tuple[tuple[str, str], ...]
    """Names of columns, and the reasons."""


def guess(sample: Sample) -> ColumnRoles:
    """Guess the use of each column of a table.

    Raises
    ------
    UserError
        No column can be a label, or no column can be a field.
    """
    left_out = dict(sample.unreadable)
    own = sample.own_files
    remaining: list[ColumnProfile] = []
    for column in sample.columns:
        if own is not None and column.name == own.column:
            continue
        if (reason := _useless(column, sample)) is not None:
            left_out[column.name] = reason
        else:
            remaining.append(column)
    tasks = _tasks(remaining)
    if own is not None and (lacking := [file for file in own.names if _lacks_all(tasks, file)]):
        raise UserError(
            f"{sample.folder / lacking[0]}: got no column that can be a label, expected one, as each file is a "
            "scenario: add the label, or leave the file out"
        )
    remaining = _without(remaining, [task.column for task in tasks])
    for column in remaining:
        if (reason := _like_a_label(column)) is not None:
            left_out[column.name] = reason
    remaining = [column for column in remaining if column.name not in left_out]
    times = {column.name: found for column in remaining if (found := time_of(column)) is not None}
    day = _day([time for time in times.values() if isinstance(time, TimeGuess)], sample)
    for name, time in times.items():
        left_out[name] = time if isinstance(time, str) else time.why_no_feature()
    remaining = [column for column in remaining if column.name not in times]
    if day is not None:
        del left_out[day.column.name]
    users = _users(remaining)
    candidates = _candidates(_without(remaining, [users]), sample)
    scenarios = None if own is not None else _scenarios(candidates, sample)
    others = tuple(column for column in candidates if scenarios is None or column is not scenarios.column)
    if scenarios is not None:
        remaining = _without(remaining, [scenarios.column])
    features: list[ColumnGuess] = []
    for column in remaining:
        feature = feature_of(column)
        if isinstance(feature, ColumnGuess):
            features.append(feature)
        else:
            left_out[column.name] = feature
    if not any(isinstance(feature.spec, FieldSection) for feature in features):
        raise UserError(
            f"{sample.folder / sample.table.files[0]}: got no column that can be a categorical field, expected an id, "
            "a category or small whole numbers beside label and scenario: add one to the table"
        )
    split, split_reason = _split(day, users)
    return ColumnRoles(
        tuple(_of_scenarios(task, own) for task in tasks),
        scenarios,
        others,
        users,
        {} if day is None else {day.column.name: day.section},
        split,
        split_reason,
        tuple(_of_scenarios(feature, own) for feature in features),
        _in_order(left_out, sample),
    )


def _of_scenarios(guessed: ColumnGuess, own: OwnFiles | None) -> ColumnGuess:
    """Return the guess with the scenarios that have the column, if not all do."""
    column = guessed.column
    if own is None or not column.absent:
        return guessed
    spec = guessed.spec.model_copy(update={"scenarios": own.scenarios(column.absent)})
    return ColumnGuess(column, spec, f"{guessed.reason}; not in {_listed(column.absent)}")


def _lacks_all(tasks: Sequence[ColumnGuess], file: str) -> bool:
    return all(file in task.column.absent for task in tasks)


def _listed(files: Sequence[str]) -> str:
    return ", ".join(files[:3]) + (f" and {len(files) - 3} further files" if files[3:] else "")


def _useless(column: ColumnProfile, sample: Sample) -> str | None:
    if not column.distinct:
        return "no row has a value"
    if column.name in sample.row_numbers and time_of(column) is None:
        return "a row number, which tells a model nothing"
    word = personal(column.name)
    if word is not None and column.yes_and_no is None:
        return f"name contains '{word}': it may identify a person"
    if column.absent and sample.own_files is None:
        return (
            f"not in {_listed(column.absent)}: every file of a table has the same columns, unless each scenario has "
            'files of its own, files: ["{scenario}.csv"]'
        )
    if column.text and share_matching(column.values, _PERSONAL_TEXT) > 0.5:
        return "its values look like addresses: they may identify persons"
    if column.distinct == 1 and not column.missing and (sample.whole or time_of(column) is None):
        return "the same value in every row" + ("" if sample.whole else " of the sample")
    return None


def _tasks(columns: Sequence[ColumnProfile]) -> tuple[ColumnGuess, ...]:
    candidates = [column for column in columns if column.yes_and_no is not None and not column.missing]
    if not candidates:
        raise UserError(
            f"no column can be a label: got {', '.join(column.name for column in columns[:20]) or 'none that varies'}, "
            "expected one that holds just 0 and 1, without gaps: add the label to the table"
        )
    named = [column for column in candidates if spoken(column.name, LABEL_WORDS) is not None]
    if named:
        return tuple(
            _task(column, f"name contains '{spoken(column.name, LABEL_WORDS)}'")
            for column in sorted(named, key=_positive_share, reverse=True)
        )
    return (_task(candidates[-1], "no name suggests a label, and this is the last candidate: is it the label?"),)


def _like_a_label(column: ColumnProfile) -> str | None:
    """Return the reason to leave out a column that looks like a label but is no task; None for other columns."""
    word = spoken(column.name, LABEL_WORDS)
    few = len({value.lower() for value in column.values} - _NO_VALUES) <= 2 or set(column.values) == {"-1", "0", "1"}
    if word is None or not few:
        return None
    values = f"{'1 value' if column.distinct == 1 else f'{column.distinct} values'}, {', '.join(sorted(column.values))}"
    seen = f"looks like a label: name contains '{word}', {values}"
    if column.missing:
        seen += f"; no value in {column.missing:,} of {column.rows:,} rows"
    if column.yes_and_no is None:
        return f"{seen}; a task says which of its values are positive, and which are negative"
    elsewhere = f", and not in {_listed(column.absent)}: name its scenarios" if column.absent else ""
    return f"{seen}; a task with unlabelled: skip is trained on the others{elsewhere}"


def _positive_share(column: ColumnProfile) -> float:
    assert column.yes_and_no is not None
    return float(column.counts[column.values == column.yes_and_no[0]].sum()) / column.rows


def _task(column: ColumnProfile, why: str) -> ColumnGuess:
    assert column.yes_and_no is not None
    yes, no = (scalar(value) for value in column.yes_and_no)
    spec = TaskSection(column=column.name)
    if (yes, no) not in ((1, 0), ("true", "false")):
        spec = TaskSection(column=column.name, positive=(yes,), negative=(no,))
    rate = f"{percent(_positive_share(column))} {'ones' if yes == 1 else yes}"
    return ColumnGuess(column, spec, f"2 values, {no} and {yes}, {rate}; {why}")


def _day(times: Sequence[TimeGuess], sample: Sample) -> TimeGuess | None:
    """Return the time of the rows, if any; among several, the one with the plainest name, days before times."""
    found = [time for time in times if time.of_rows and len(time.days) >= (_DAYS if sample.whole else 1)]
    return min(found, key=lambda time: (len(words(time.column.name)), time.column.distinct), default=None)


def _users(columns: Sequence[ColumnProfile]) -> ColumnProfile | None:
    found = [column for column in columns if is_user(column)]
    return min(found, key=lambda column: USER_WORDS.index(str(subject(column.name, USER_WORDS))), default=None)


def _candidates(columns: Sequence[ColumnProfile], sample: Sample) -> list[ColumnProfile]:
    """Return the columns that may be the scenario, the likeliest first."""
    found = [
        column
        for column in columns
        if 2 <= column.distinct <= _SCENARIOS
        and column.yes_and_no is None
        and column.parts() is None
        and (column.text or column.integers)
        and max(map(len, column.values)) <= LONGEST_VALUE
        and len(_frequent(column, sample)) > 1
    ]

    def rank(column: ColumnProfile) -> tuple[int, bool]:
        word = subject(column.name, SCENARIO_WORDS)
        return (len(SCENARIO_WORDS) if word is None else SCENARIO_WORDS.index(word)), not _is_kind(column)

    return sorted(found, key=rank)


def _is_kind(column: ColumnProfile) -> bool:
    """Return whether a column with another name may be the scenario; most columns of small numbers are not."""
    return column.text and subject(column.name, (*ITEM_WORDS, *USER_WORDS)) is None


def _frequent(column: ColumnProfile, sample: Sample) -> list[str]:
    fewest = max(_SCENARIO_ROWS, _SCENARIO_SHARE * sample.rows)
    return [value for value, count in zip(column.values, column.counts, strict=True) if count >= fewest]


def _scenarios(candidates: Sequence[ColumnProfile], sample: Sample) -> ScenarioGuess | None:
    """Return the likeliest column, if it is likely at all."""
    if not candidates:
        return None
    column = candidates[0]
    word = subject(column.name, SCENARIO_WORDS)
    if word is None and not _is_kind(column):
        return None
    taken: set[str] = set()
    names: dict[Scalar, str] = {}
    for value in sorted(_frequent(column, sample), key=float if column.integers else str):
        names[scalar(value)] = unique(folder_name(value, column.name), taken)
    rare = tuple(value for value in column.values if scalar(value) not in names)
    why = (
        f"name contains '{word}'" if word else "no name suggests the scenario, and this is a text column of few values"
    )
    return ScenarioGuess(column, names, rare, f"{described(column)}; {why}")


def folder_name(value: str, column: str) -> str:
    """Return a scenario name that is valid as a folder name; numbers are prefixed with the column's name."""
    plain = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9]+$|^[^A-Za-z0-9]+", "", re.sub(r"[^A-Za-z0-9._-]+", "-", plain))
    if re.search(r"[A-Za-z]", name):
        return name
    prefix = re.sub(r"[^A-Za-z0-9]+", "", column) or "scenario"
    return f"{prefix}{name}"


def unique(name: str, taken: set[str]) -> str:
    """Return a name that is not yet in `taken`, ignoring case, and add it."""
    found, number = name, 2
    while found.lower() in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found.lower())
    return found


def _split(day: TimeGuess | None, users: ColumnProfile | None) -> tuple[SplitSection, str]:
    if day is not None:
        first, last = (day_text(int(end), day.section) for end in (day.days[0], day.days[-1]))
        days = "1 day" if len(day.days) == 1 else f"{len(day.days):,} days"
        rule = SplitSection(by_date=DateSplit(column=day.column.name, last_days=LastDays(validation=1, test=1)))
        return rule, f"{days}, {first} to {last}; the last day is the test, the day before it validation"
    if users is not None:
        shares = ShareSplit(validation=_HELD_OUT, test=_HELD_OUT)
        return SplitSection(by_user=shares), "no column has the day; all rows of a user are in one split"
    rows = RandomSplit(validation=_HELD_OUT, test=_HELD_OUT)
    return SplitSection(random=rows), "no column has the day or the user, so each row is drawn by itself"


def _without(columns: Sequence[ColumnProfile], gone: Sequence[ColumnProfile | None]) -> list[ColumnProfile]:
    return [column for column in columns if not any(column is each for each in gone)]


def _in_order(left_out: dict[str, str], sample: Sample) -> tuple[tuple[str, str], ...]:
    """Return the columns left out, in the table's order."""
    names = [name for name, _ in sample.unreadable] + [column.name for column in sample.columns]
    return tuple((name, left_out[name]) for name in names if name in left_out)
