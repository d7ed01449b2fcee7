"""Guesses of how the values of a column are written: signs of numbers, and words in place of a number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from pfmsmtrec_flwr.data.encode.encoders import Texts
from pfmsmtrec_flwr.data.encode.written_numbers import plain_numbers
from pfmsmtrec_flwr.data.schema.column_form import NUMBER_WORDS, PLAIN, ColumnForm

MISSING_WORDS = frozenset({*NUMBER_WORDS, "-", "--", "?", ".", "unknown", "Unknown", "missing", "Missing", "n.a."})
"""Words that stand for a missing number, where all other values of a column are numbers."""

_SIGNS = (
    *("US$", "R$", "€", "$", "£", "¥", "₹", "₽", "₩", "₺", "%", "‰", "USD", "EUR", "GBP", "JPY", "CNY", "CHF", "SEK"),
    *("NOK", "DKK", "PLN", "INR", "BRL", "kr", "zł"),
)
_PLAIN_NUMBER = re.compile(r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|inf)")
_NUMBER_WITH_SIGNS = re.compile(r"[^\d]{0,5}\d(?:[\d.,'\u2019\s]*\d)?[.,]?\D{0,5}")
_ADDRESS = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
_FORMS: tuple[tuple[Literal[".", ","], str | None], ...] = (
    (".", None),
    (".", ","),
    (",", None),
    (",", "."),
    (".", " "),
    (",", " "),
    (".", "'"),
    (",", "'"),
)
_AROUND = r"^[-+]?\s*{0}|{0}$"
_DECIMALS_SHARE = 0.5


def words_among(texts: Iterable[str]) -> list[str]:
    """Return the words that may stand for a missing number, sorted."""
    return sorted(MISSING_WORDS.intersection(texts))


def guess_form(texts: Texts, delimiter: str) -> ColumnForm:
    """Return the form in which all distinct texts are numbers; `PLAIN` for plain numbers and for other texts.

    Parameters
    ----------
    texts
        Distinct texts without white space around them; an empty one is a missing value.
    delimiter
        Sign between the columns of the file: files with ``;`` often have decimal commas.
    """
    others = [text for text in texts if text and text not in MISSING_WORDS]
    if not others or not all(map(_NUMBER_WITH_SIGNS.fullmatch, others)):
        return PLAIN
    if all(map(_PLAIN_NUMBER.fullmatch, others)) or any(map(_ADDRESS.fullmatch, others)):
        return PLAIN
    signs = tuple(sign for sign in _SIGNS if any(re.search(_AROUND.format(re.escape(sign)), text) for text in others))
    for decimal, thousands in sorted(_FORMS, key=lambda form: _is_unlikely(form, others, delimiter)):
        form = ColumnForm(decimal=decimal, thousands=thousands, signs=signs)
        plain = plain_numbers(pa.array(others, type=pa.string()), form)
        if not plain.null_count and _is_used(form, others):
            return form
    return PLAIN


def _is_unlikely(form: tuple[str, str | None], texts: Sequence[str], delimiter: str) -> bool:
    """Return whether a comma is rather the decimal sign, where it could also separate thousands."""
    ungrouped = any(re.search(r"\d{4}", text) for text in texts)
    return form == (".", ",") and (delimiter == ";" or ungrouped)


def _is_used(form: ColumnForm, texts: Sequence[str]) -> bool:
    """Return whether the texts speak for a form: few commas between whole numbers are lists rather than decimals."""
    if form.thousands is not None and not any(re.search(rf"\d{_kind(form.thousands)}\d", text) for text in texts):
        return False
    plain = form.thousands is None and not form.signs
    return form.decimal == "." or float(np.mean(["," in text for text in texts])) >= (_DECIMALS_SHARE if plain else 0.0)


def _kind(thousands: str) -> str:
    return {" ": r"\s", "'": "['\u2019]"}.get(thousands, re.escape(thousands))
