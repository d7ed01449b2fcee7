"""Section of a schema for how the values of a column are written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pfmsmtrec_flwr.data.schema.values import Scalars
from pfmsmtrec_flwr.validation import Section

NUMBER_WORDS: tuple[str, ...] = tuple(
    dict.fromkeys(
        spelt
        for word in ("NA", "N/A", "#N/A", "<NA>", "NaN", "NULL", "None", "\\N")
        for spelt in (word, word.lower(), word.upper(), word.capitalize())
    )
)
"""Words that stand for a missing value wherever a number is expected. In other columns they are values."""

_NUMBER_SIGNS = frozenset("0123456789+-eE")


class ColumnForm(Section):
    """How the values of a column are written in its files, whatever the column is used for.

    With `decimal`, `thousands` or `signs` every value is a number, which the rest of the schema writes plainly: 1234.5.
    """

    missing: Scalars = ()
    """Words that stand for a missing value in this column. Empty texts always do, and where a number is expected `NA`,
    `N/A`, `NaN`, `NULL`, `None` and `\\N` do, in any case."""
    decimal: Literal[".", ","] = "."
    """Sign before the decimals."""
    thousands: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Sign between groups of digits, such as the comma in ``1,234.5``. A blank stands for every kind of space."""
    signs: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)] = ()
    """Signs of a currency, unit or percentage before or after a number, which are left out: ``12 %`` is 12."""
    leading_zeros: Literal["drop", "keep"] = "drop"
    """keep: ``01`` and ``1`` are two values, as in postcodes."""

    @model_validator(mode="after")
    def _sound(self) -> ColumnForm:
        if self.thousands is not None and (self.thousands == self.decimal or self.thousands in _NUMBER_SIGNS):
            raise ValueError(f"thousands: got '{self.thousands}', expected a sign that no number has otherwise")
        if odd := [sign for sign in self.signs if sign.strip() != sign or sign[0] in _NUMBER_SIGNS - {"e", "E"}]:
            raise ValueError(f"signs: got '{odd[0]}', expected signs such as € or % without blanks around them")
        if self.leading_zeros == "keep" and self.is_number:
            raise ValueError("leading_zeros: keep is for texts, and decimal, thousands and signs are for numbers")
        return self

    @property
    def is_number(self) -> bool:
        """True if the values are numbers in a form of their own."""
        return self.decimal != "." or self.thousands is not None or bool(self.signs)

    @property
    def example(self) -> str:
        """A number in this form."""
        return f"1{self.thousands or ''}234{self.decimal}5" + "".join(f" {sign}" for sign in self.signs[:1])


PLAIN = ColumnForm()
"""Form of a column without a section of its own."""
