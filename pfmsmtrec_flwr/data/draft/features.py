"""Guesses for columns that are neither label, scenario nor day: a field, a numeric column, or nothing.

A wrong guess must be on the safe side: what may identify a person stays local.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pfmsmtrec_flwr.data.draft.names import AFTERWARDS_WORDS, ID_WORDS, ITEM_WORDS, USER_WORDS, spoken, subject, words
from pfmsmtrec_flwr.data.draft.profile import SEPARATOR, ColumnProfile
from pfmsmtrec_flwr.data.schema.column_form import NUMBER_WORDS
from pfmsmtrec_flwr.data.schema.feature_sections import (
    FieldSection,
    HashSection,
    IdentitySection,
    NumericSection,
    SeveralSection,
    VocabularySection,
)
from pfmsmtrec_flwr.data.schema.task_sections import TaskSection
from pfmsmtrec_flwr.data.schema.values import Scalar

FEW_VALUES = 50
"""Largest number of values of a text column that are declared one by one."""
LONGEST_VALUE = 60
"""Largest number of characters of a value in a schema."""

_MOST = 1000  # the largest number that a schema takes
_SMALL = 1000  # smaller integers are encoded as they are
_WIDE = 2**31
_INEXACT = 2**53  # integers from here on are ids, no amounts
_SKEWED = 1.5
_UNKNOWN = "may identify people; make it federated with a hash if it does not"


@dataclass(frozen=True, slots=True)
class ColumnGuess:
    """Use of a column, and the reason."""

    column: ColumnProfile
    spec: TaskSection | FieldSection | NumericSection
    reason: str


def feature_of(column: ColumnProfile) -> ColumnGuess | str:
    """Return the field or numeric column for a column, or the reason to leave it out."""
    guessed = _guessed(column)
    word = spoken(column.name, AFTERWARDS_WORDS)
    if isinstance(guessed, str) or word is None or column.yes_and_no is not None:
        return guessed
    return ColumnGuess(
        column, guessed.spec, f"{guessed.reason}; '{word}': known before the impression? If not, remove it"
    )


def described(column: ColumnProfile) -> str:
    """Describe a column: number of values and share of missing values."""
    values = "1 value" if column.distinct == 1 else f"{column.distinct:,} values"
    return values + (f", {percent(column.missing / column.rows)} missing" if column.missing else "")


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.3g} %"


def scalar(text: str) -> Scalar:
    """Return a canonical text as a schema has it: whole numbers as numbers."""
    return int(text) if re.fullmatch(r"-?(0|[1-9]\d{0,17})", text) and text != "-0" else text


def is_user(column: ColumnProfile) -> bool:
    """Return whether a column holds ids of users, by its name and values."""
    return _is_id(column) and subject(column.name, USER_WORDS) is not None


def _is_id(column: ColumnProfile) -> bool:
    many = column.distinct > FEW_VALUES
    return (many and column.text) or (column.integers and (many or column.span()[1] >= _INEXACT))


def _guessed(column: ColumnProfile) -> ColumnGuess | str:
    return _several(column) or _single(column)


def _several(column: ColumnProfile) -> ColumnGuess | None:
    """Return the field for a column of several values; None for another column."""
    found = column.parts()
    if found is None:
        return None
    parts, most = found
    guessed = _single(parts)
    if isinstance(guessed, str) or not isinstance(guessed.spec, FieldSection):
        return None
    several = SeveralSection(separator=SEPARATOR, most=min(most, _MOST))
    return ColumnGuess(
        column,
        guessed.spec.model_copy(update={"several": several}),
        f"up to {most} values in a row, with '{SEPARATOR}' between them; {guessed.reason}",
    )


def _single(column: ColumnProfile) -> ColumnGuess | str:
    """Return the guess for a column of single values, with the words that stand for a missing one."""
    guessed = _of_values(column)
    if isinstance(guessed, str):
        return guessed
    spec, reason = guessed.spec, guessed.reason
    if column.words and isinstance(spec, FieldSection | NumericSection):
        spec = spec.model_copy(update={"missing": (*spec.missing, *column.words)})
        reason += f"; missing: {', '.join(column.words)} in place of a number"
    if column.forms:
        written = ", ".join(f"{form.example} in {file}" for file, form in column.forms.items())
        reason += f"; numbers, written like {written}" + (": write them alike" if column.text else "")
    elif column.form.is_number:
        reason += f"; written like {column.form.example}"
    if column.rounded and isinstance(spec, FieldSection):
        reason += f"; {column.rounded:,} ids were rounded when the file was written: write them as integers or text"
    found = [value for value in column.values if value in NUMBER_WORDS] if isinstance(spec, FieldSection) else []
    if found:
        means = "are values: if they mean" if found[1:] else "is a value: if it means"
        reason += f"; {' and '.join(found)} {means} missing, add missing: [{', '.join(found)}]"
    return ColumnGuess(column, spec, reason)


def _of_values(column: ColumnProfile) -> ColumnGuess | str:
    seen = described(column)
    if column.yes_and_no is not None:
        return ColumnGuess(
            column, _coarse(column), f"{seen}; a label, or known only after the impression? Then remove it"
        )
    user = subject(column.name, USER_WORDS)
    if user is not None and (column.text or column.integers):
        return ColumnGuess(column, _private(), f"{seen}; name contains '{user}'")
    item = subject(column.name, ITEM_WORDS)
    if item is None and column.distinct == column.rows > 1 and (column.text or column.integers):
        return "a different value in every row"
    if item is not None and _is_id(column):
        buckets = 1 << (2 * column.distinct - 1).bit_length()
        spec = FieldSection(hash=HashSection(buckets=buckets), embedding="federated")
        return ColumnGuess(column, spec, f"{seen}, such as {column.values[0][:30]}; name contains '{item}'")
    if column.text:
        if column.distinct <= FEW_VALUES and max(map(len, column.values)) <= LONGEST_VALUE:
            return ColumnGuess(column, _coarse(column), seen)
        return ColumnGuess(column, _private(), f"{seen}; {_UNKNOWN}")
    lowest, highest = column.span()
    called_id = not set(ID_WORDS).isdisjoint(words(column.name)[-1:])
    if _is_id(column) and (called_id or highest >= _WIDE):
        return ColumnGuess(column, _private(), f"{seen}; {_UNKNOWN}")
    return _number(column, f"{seen}, {_figure(lowest)} to {_figure(highest)}")


def _number(column: ColumnProfile, seen: str) -> ColumnGuess:
    highest = column.span()[1]
    sentinel = column.lone_negative()
    update: dict[str, object] = {}
    if sentinel is not None:
        update["missing"] = (sentinel,)
        seen += f"; {sentinel}, the only negative value, is taken as missing"
    lowest = min(column.span()[0] if sentinel is None else 0, 0)
    if column.integers and lowest == 0 and highest < _SMALL:
        size = IdentitySection(size=1 << (int(highest) + 1).bit_length())
        field = FieldSection(identity=size, embedding="federated").model_copy(update=update)
        amount = "; an amount? Then make it numeric" if column.distinct > FEW_VALUES else ""
        return ColumnGuess(column, field, f"{seen}{amount}")
    if lowest == 0 and column.skewness(sentinel) > _SKEWED:
        update["transform"] = "log1p"
        seen += ", a few far above the others"
    return ColumnGuess(column, NumericSection.model_validate(update), seen)


def _coarse(column: ColumnProfile) -> FieldSection:
    if column.integers and column.yes_and_no is not None:
        return FieldSection(identity=IdentitySection(size=2), embedding="federated")
    return FieldSection(values=tuple(map(scalar, sorted(column.values))), embedding="federated")


def _private() -> FieldSection:
    return FieldSection(vocabulary=VocabularySection(min_count=2), embedding="local")


def _figure(number: float) -> str:
    return f"{int(number):,}" if number % 1 == 0 and abs(number) < 1e15 else f"{number:,.6g}"
