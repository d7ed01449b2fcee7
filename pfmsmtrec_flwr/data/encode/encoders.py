"""Encoders that map categorical values to rows of an embedding table, whole arrays at a time.

A column is held as its distinct values and an index into them, so that text is handled once per distinct value. Row 0
of every table stands for missing, unseen, rare and out-of-range values. The encoders of this module work on texts;
`hashes` has those that work on hashes of texts.

Encoders and hashes see canonical texts only (`spelling`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pfmsmtrec_flwr.data.schema.column_form import PLAIN, ColumnForm
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection
from pfmsmtrec_flwr.data.schema.spelling import canonical, canonical_texts
from pfmsmtrec_flwr.data.schema.values import Scalar

Texts: TypeAlias = npt.NDArray[np.object_]
"""Canonical texts, (distinct,)."""
Integers: TypeAlias = npt.NDArray[np.int64]

NO_HASH = 0
"""Hash that stands for a missing value; no text has it."""


@dataclass(frozen=True, slots=True)
class CodedColumn:
    """Column as distinct values and an index into them."""

    values: Texts
    """Distinct texts (distinct,)."""
    index: Integers
    """Index into `values` (n,); -1 for a missing value."""

    def __len__(self) -> int:
        return len(self.index)

    def lookup(self, of_value: npt.NDArray[Any], of_missing: Any) -> npt.NDArray[Any]:
        """Return the entry of each row's value (n,), and `of_missing` for missing values."""
        missing = np.array([of_missing], dtype=of_value.dtype)  # in the same type, so that no bit of a hash is lost
        return np.concatenate([of_value, missing])[self.index]  # -1 is the appended entry

    def counts(self) -> Integers:
        """Count the rows of each distinct value."""
        return np.bincount(self.index[self.index >= 0], minlength=len(self.values)).astype(np.int64)


class Encoder(Protocol):
    """Map from distinct texts to rows."""

    @property
    def size(self) -> int:
        """Number of rows of the table, the reserved row included."""

    def rows(self, values: Texts) -> Integers:
        """Return the row of each text; 0 if it has none."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Encoder of numbers 0..limit-1: row = number + 1."""

    limit: int

    @property
    def size(self) -> int:
        """Number of rows of the table."""
        return self.limit + 1

    def rows(self, values: Texts) -> Integers:
        """Return the number plus one; 0 if it is out of range."""
        numbers = np.asarray(pd.to_numeric(values, errors="coerce"), dtype=np.float64)
        with np.errstate(invalid="ignore"):
            valid = (numbers >= 0) & (numbers < self.limit) & (numbers == np.floor(numbers))
        return np.where(valid, np.where(valid, numbers, 0).astype(np.int64) + 1, 0)


@dataclass(frozen=True, slots=True)
class NumberBands:
    """Encoder of numbers by bands; row = band + 1."""

    starts: tuple[float, ...]
    """Numbers at which the next band begins, ascending."""

    @property
    def size(self) -> int:
        """Number of rows of the table."""
        return len(self.starts) + 2

    def rows(self, values: Texts) -> Integers:
        """Return the band plus one; 0 for a text that is no number."""
        numbers = np.asarray(pd.to_numeric(values, errors="coerce"), dtype=np.float64)
        return np.where(np.isnan(numbers), 0, np.digitize(numbers, self.starts) + 1)


class Vocabulary:
    """Encoder of declared values in their order; the first has row 1."""

    def __init__(self, values: Texts) -> None:
        self._index = pd.Index(values, dtype=object)

    @property
    def size(self) -> int:
        """Number of rows of the table."""
        return len(self._index) + 1

    def rows(self, values: Texts) -> Integers:
        """Return the position plus one; 0 for an unknown value."""
        return self._index.get_indexer(pd.Index(values, dtype=object)).astype(np.int64) + 1


def coded(array: pa.Array | pa.ChunkedArray, form: ColumnForm = PLAIN) -> CodedColumn:
    """Split a column of any type into distinct canonical texts and an index, without the words of `form.missing`."""
    return without(of_texts(*distinct_values(array), form), form.missing, form)


def of_texts(distinct: pa.Array, index: Integers, form: ColumnForm) -> CodedColumn:
    """Return the column of distinct values of any type and an index into them, -1 for a missing value."""
    texts = canonical_texts(distinct, form)
    values = np.asarray(texts.to_numpy(zero_copy_only=False), dtype=object)
    missing = np.asarray(texts.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    return as_missing(CodedColumn(values, index), missing)


def distinct_values(array: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, Integers]:
    """Return the distinct values of a column as they are, and each row's index into them; -1 for null."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    distinct = (
        array.dictionary.cast(pa.string()) if pa.types.is_large_string(array.dictionary.type) else array.dictionary
    )
    return distinct, pc.fill_null(array.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)


def without(column: CodedColumn, sentinels: tuple[Scalar, ...], form: ColumnForm = PLAIN) -> CodedColumn:
    """Make the values in `sentinels` missing."""
    if not sentinels:
        return column
    return as_missing(column, is_one_of(column.values, [canonical(value, form) for value in sentinels]))


def is_one_of(values: Texts, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which of `values` are in `texts`."""
    found = pc.is_in(pa.array(values, type=pa.string()), value_set=pa.array(texts, type=pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


def matching(values: Texts, pattern: str) -> npt.NDArray[np.bool_]:
    """Return which texts match a regular expression (RE2)."""
    found = pc.match_substring_regex(pa.array(values, type=pa.string()), pattern)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


def are_clock_times(values: Texts) -> npt.NDArray[np.bool_]:
    """Return which texts are times of day such as 2359, which the transform `hour` takes."""
    return matching(values, r"^\d{1,4}$")


def transformed(column: CodedColumn, transform: str, form: ColumnForm = PLAIN) -> CodedColumn:
    """Apply a field's transform to its texts: one of those of `FieldSection`."""
    if transform == "none" or not len(column.values):
        return column
    return of_texts(_TRANSFORMS[transform](pa.array(column.values, type=pa.string())), column.index, form)


def declared_encoder(spec: FieldSection, form: ColumnForm = PLAIN) -> Encoder | None:
    """Return the encoder of a field that its schema declares in full; None for a field that is encoded by hashes.

    Parameters
    ----------
    spec, form
        Section of the field, and the form of its column.
    """
    if spec.identity is not None:
        return Identity(spec.identity.size)
    if spec.values is not None:
        texts = list(dict.fromkeys(canonical(value, form) for value in spec.values))
        return Vocabulary(np.array(texts, dtype=object))
    if spec.bands is not None:
        return NumberBands(spec.bands)
    return None


def hash_texts(values: Texts, seed: int) -> npt.NDArray[np.uint64]:
    """Hash texts to 64 bits (SipHash with a key made from the seed); no hash is `NO_HASH`."""
    key = f"{seed % 16**16:016x}"
    hashes = np.asarray(pd.util.hash_array(values.astype(object), hash_key=key, categorize=False), dtype=np.uint64)
    return np.maximum(hashes, np.uint64(NO_HASH + 1))


def _hour(texts: pa.Array) -> pa.Array:
    hours = pc.replace_substring_regex(texts, r"^(\d{0,2}?)\d{1,2}$", r"\1")  # 2359 → 23, 859 → 8, 5 → 0
    return pc.if_else(pc.equal(hours, ""), "0", hours)


def _found(pattern: str) -> Callable[[pa.Array], pa.Array]:
    return lambda texts: pc.struct_field(pc.extract_regex(texts, f"(?P<found>{pattern})"), "found")


_TRANSFORMS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "hour": _hour,
    "first": lambda texts: pc.replace_substring_regex(texts, r"(?s),.*$", ""),
    "number": _found(r"-?\d+(?:\.\d+)?"),
    "year": _found(r"\d{4}"),
    "lower": pc.utf8_lower,
}


def as_missing(column: CodedColumn, gone: npt.NDArray[np.bool_]) -> CodedColumn:
    """Make distinct values missing; `gone` says which, (distinct,)."""
    if not gone.any():
        return column
    values = column.values.copy()
    values[gone] = ""
    return CodedColumn(values, column.lookup(np.where(gone, -1, np.arange(len(values))), -1))
