"""Sections of a schema for the split into training, validation and test rows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from pfmsmtrec_flwr.data.schema.choices import exactly_one
from pfmsmtrec_flwr.data.schema.values import ColumnName, Scalars
from pfmsmtrec_flwr.validation import Section

Share = Annotated[float, Field(gt=0, lt=1)]


class LastDays(Section):
    """Numbers of last days that are held out. The days are the same for all scenarios."""

    validation: Annotated[int, Field(ge=1)] = 1
    test: Annotated[int, Field(ge=1)] = 1


class DateSplit(Section):
    """Split by day: named days, or the last days of the data."""

    column: ColumnName
    """Column of days or times; its form stands under `times`, or is found."""
    last_days: LastDays | None = None
    validation: Scalars = ()
    """Days in the form of the column, or as 2024-01-31."""
    test: Scalars = ()

    @model_validator(mode="after")
    def _one_rule(self) -> DateSplit:
        named = bool(self.validation) + bool(self.test)
        if (self.last_days is None and named != 2) or (self.last_days is not None and named):
            raise ValueError("give either last_days, or both validation and test with the values of the column")
        if set(map(str, self.validation)) & set(map(str, self.test)):
            raise ValueError("a value is both in validation and in test")
        return self


class ShareSplit(Section):
    """Random split by user: all rows of a user go to one split. A row without a user is drawn by itself."""

    validation: Share
    test: Share
    seed: int = 0

    @model_validator(mode="after")
    def _rest(self) -> ShareSplit:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave no training rows")
        return self


class UserTimeSplit(ShareSplit):
    """Split of each user's rows in a scenario by time: the last share is the test, the share before it validation.

    The seed is for rows without a user, which are drawn one by one.
    """

    column: ColumnName
    """Column of the time; its form stands under `times`, or is found. Rows of equal time keep the order of the file."""


class RandomSplit(ShareSplit):
    """Random split: rows with the same key, such as a page of results, go to one split.

    A row without a key is drawn by itself.
    """

    key: ColumnName | None = None
    """Column of the key. Without one each row is drawn by itself."""


class CutSplit(Section):
    """Validation rows cut from the training files."""

    share: Share
    key: ColumnName | None = None
    """Column whose equal values stay together. Without one each row is drawn by itself."""
    seed: int = 0


class FileSplit(Section):
    """Split by file: these words replace ``{split}`` in `files`."""

    train: ColumnName = "train"
    test: ColumnName = "test"
    validation: ColumnName | None = None
    cut: CutSplit | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> FileSplit:
        exactly_one(self, ("validation", "cut"))
        return self


class SplitSection(Section):
    """Split rule; exactly one key is set."""

    by_date: DateSplit | None = None
    random: RandomSplit | None = None
    by_user: ShareSplit | None = None
    by_file: FileSplit | None = None
    by_user_time: UserTimeSplit | None = None

    @model_validator(mode="after")
    def _one(self) -> SplitSection:
        exactly_one(self, ("by_date", "random", "by_user", "by_file", "by_user_time"))
        return self
