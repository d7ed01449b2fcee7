"""Numbers as people write them, with a decimal comma, thousands separators, currency or percent signs.

Whole arrays of distinct texts at a time.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pfmsmtrec_flwr.data.encode.encoders import CodedColumn, Integers, Texts, as_missing, is_one_of
from pfmsmtrec_flwr.data.schema.column_form import NUMBER_WORDS, ColumnForm

MISSING_TEXTS = tuple(dict.fromkeys(f"{blank}{word}" for word in ("", *NUMBER_WORDS) for blank in ("", " ")))
"""Texts of a CSV file that stand for a missing number, with or without a blank after the delimiter."""

_SPACES = " \u00a0\u2009\u202f"
_QUOTES = "'\u2019"
_MINUS = "[-\u2212]"


def plain_numbers(texts: pa.Array, form: ColumnForm) -> pa.Array:
    """Return numbers in a column's form as plain texts such as ``-1234.5``; null for texts of another form."""
    found = pc.extract_regex(pc.utf8_trim_whitespace(texts), _pattern(form))
    minus, digits, decimals, exponent = (
        pc.struct_field(found, part) for part in ("minus", "digits", "decimals", "exponent")
    )
    minus = pc.if_else(pc.equal(minus, ""), "", "-")
    whole = pc.replace_substring_regex(digits, r"\D", "")
    decimals = pc.replace_substring(decimals, form.decimal, ".")
    mantissa = pc.binary_join_element_wise(minus, whole, decimals, "")
    there = pc.match_substring_regex(mantissa, r"\d")
    return pc.if_else(there, pc.binary_join_element_wise(mantissa, exponent, ""), pa.scalar(None, pa.string()))


def stands_for_no_number(texts: Texts) -> npt.NDArray[np.bool_]:
    """Return which texts stand for a missing value where a number is expected."""
    return is_one_of(texts, ("", *NUMBER_WORDS))


def without_number_words(column: CodedColumn) -> CodedColumn:
    """Make the words missing that stand for a missing number."""
    return as_missing(column, stands_for_no_number(column.values))


def rounded_ids(distinct: pa.Array, index: Integers) -> int:
    """Count the rows whose number was rounded when its file was written, if it is an id.

    These are floating-point numbers from 2^53 on, and texts that hold such numbers or exponents as in ``1.23E+15``.
    """
    if pa.types.is_floating(distinct.type):
        numbers = np.abs(np.nan_to_num(distinct.to_numpy(zero_copy_only=False).astype(np.float64)))
        rounded = (numbers >= 2.0**53) & np.isfinite(numbers)
    elif pa.types.is_string(distinct.type) and _may_be_rounded(distinct):
        found = pc.fill_null(pc.match_substring_regex(distinct, _ROUNDED), False)
        rounded = np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)
    else:
        return 0
    return int(np.append(rounded, False)[index].sum()) if rounded.any() else 0


def _may_be_rounded(texts: pa.Array) -> bool:
    """Return False if surely no text is a rounded id; this is faster than the regular expression."""
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    return longest >= _SHORTEST_FLOAT or bool(pc.any(pc.match_substring(texts, "+")).as_py())


_SHORTEST_FLOAT = len(f"{2.0**53}")
_ROUNDED = r"^\s*[-+]?(?:\d{16,}\.0*|\d(?:\.\d+)?[eE]\+?[1-9]\d)\s*$"


def _pattern(form: ColumnForm) -> str:
    """Return the regular expression (RE2) of numbers in a form."""
    blanks = f"[{_SPACES}]*"
    signs = "|".join(map(re.escape, sorted(form.signs, key=len, reverse=True)))
    sign = f"(?:(?:{signs}){blanks})?" if signs else ""
    last = f"(?:{blanks}(?:{signs}))?" if signs else ""
    digits = r"\d+"
    if form.thousands is not None:
        between = {" ": f"[{_SPACES}]", "'": f"[{_QUOTES}]"}.get(form.thousands, re.escape(form.thousands))
        inner = r"\d{2,3}" if form.thousands == "," else r"\d{3}"  # 12,34,567 in India; 1.10.345 is a version
        digits = rf"\d{{1,3}}(?:{between}{inner})*{between}\d{{3}}|\d+"
    number = rf"(?P<digits>{digits}|)(?P<decimals>(?:{re.escape(form.decimal)}\d*)?)(?P<exponent>(?:[eE][-+]?\d+)?)"
    return rf"^{sign}\+?(?P<minus>{_MINUS}?){blanks}{sign}{number}{last}$"
