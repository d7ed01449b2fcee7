"""Canonical texts: one rule for all spellings of a value, in a schema as in the files.

Every value has one canonical text, whatever its type in the file: surrounding white space is removed, integers are
written without the sign ``+``, leading zeros or a fraction of zeros, and true and false in lower case. So 5, 5.0, "5",
" 5" and "005" are one value, and "5.5" and "5a" are two others. Fractions keep their text: "5.5" and "5.50" are two
values. A column may keep its leading zeros (`ColumnForm`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from pfmsmtrec_flwr.data.schema.column_form import PLAIN, ColumnForm
from pfmsmtrec_flwr.data.schema.values import Scalar

if TYPE_CHECKING:
    import pyarrow as pa

_EXACT_INTEGERS = 2.0**63  # whole numbers below it are integers of 64 bits
_TRUTH = "^(?i:true|false)$"
_INTEGER = {"drop": r"^\+?(-?)0*(\d+)(?:\.0*)?$", "keep": r"^\+?(-?)(\d+)(?:\.0*)?$"}


def canonical(value: Scalar, form: ColumnForm = PLAIN) -> str:
    """Return the canonical text of a value in a schema; an empty text for white space."""
    import pyarrow as pa

    plain = pa.array([str(value)]) if isinstance(value, int) else pa.array([value])
    return canonical_texts(plain, form)[0].as_py() or ""


def canonical_texts(values: pa.Array, form: ColumnForm = PLAIN) -> pa.Array:
    """Return the canonical texts of distinct values; null for white space, not-a-number and null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(values.type):
        values = _float_texts(values)
    elif not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    texts = pc.utf8_trim_whitespace(values)
    odd = pc.fill_null(pc.match_substring_regex(texts, rf"^(?:[-+0]|$)|\.|{_TRUTH}"), False)  # others are canonical
    if pc.any(odd).as_py():
        plain = pc.replace_substring_regex(texts.filter(odd), _INTEGER[form.leading_zeros], r"\1\2")
        plain = pc.if_else(pc.equal(plain, "-0"), "0", plain)
        plain = pc.if_else(pc.equal(plain, ""), pa.scalar(None, pa.string()), plain)
        plain = pc.if_else(pc.match_substring_regex(plain, _TRUTH), pc.utf8_lower(plain), plain)
        texts = pc.replace_with_mask(texts, odd, plain)
    return texts


def written_twice(values: Iterable[Scalar], form: ColumnForm = PLAIN) -> tuple[Scalar, Scalar] | None:
    """Return the first two different values with one canonical text, or None if there are none."""
    seen: dict[str, Scalar] = {}
    for value in values:
        first = seen.setdefault(canonical(value, form), value)
        if str(first) != str(value):
            return first, value
    return None


def _float_texts(values: pa.Array) -> pa.Array:
    """Return the shortest texts that no other number of the same type has: 0.1 is ``0.1`` with 32 bits too."""
    import pyarrow as pa

    own = values.to_numpy(zero_copy_only=False)
    numbers = own.astype(np.float64)
    with np.errstate(invalid="ignore"):
        whole = (np.abs(numbers) < _EXACT_INTEGERS) & (numbers == np.floor(numbers))
    texts = np.array(list(map(str, own)), dtype=object)
    texts[whole] = numbers[whole].astype(np.int64).astype(str)
    return pa.array(texts, type=pa.string(), mask=np.isnan(numbers))
