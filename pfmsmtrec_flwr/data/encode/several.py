"""Several values in one field of a row, such as the genres of a film, whole arrays at a time.

A column is split once per distinct text. Each row then has a fixed number of places: its values in their order, then
padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pfmsmtrec_flwr.data.encode.encoders import CodedColumn, Integers, Texts, coded, transformed, without
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection, SeveralSection

LIST_SEPARATOR = "\x1f"
"""Sign between the values of a list that is held as text."""


@dataclass(frozen=True, slots=True)
class CodedLists:
    """Column of lists as distinct values and indices into them."""

    values: Texts
    """Distinct texts of single values (distinct,)."""
    members: Integers
    """Index into `values` for each place of each distinct list (lists, most); -1 for padding."""
    index: Integers
    """Index into `members` (n,); -1 for a row without a list."""
    surplus: Integers
    """Number of values of each distinct list that had no place (lists,)."""

    def lookup(self, of_value: npt.NDArray[Any], of_missing: Any) -> npt.NDArray[Any]:
        """Return the entry of each value of each row (n, most), and `of_missing` for padding."""
        missing = np.array([of_missing], dtype=of_value.dtype)
        of_list = np.concatenate([of_value, missing])[self.members]
        none = np.full((1, self.members.shape[1]), of_missing, dtype=of_value.dtype)
        return np.concatenate([of_list, none])[self.index]  # -1 is the appended row

    def left_out(self) -> Integers:
        """Return the number of values of each row that had no place (n,)."""
        return np.append(self.surplus, 0)[self.index]


def split_values(column: CodedColumn, spec: FieldSection, several: SeveralSection) -> CodedLists:
    """Split the texts of a column into their values, each with the field's transform.

    Missing values are left out, and so are values after the first `several.most`.
    """
    texts = pa.array(column.values, type=pa.string())
    if several.separator is not None:
        texts = pc.replace_substring(texts, several.separator, LIST_SEPARATOR)
    parts = pc.split_pattern(texts, LIST_SEPARATOR)
    single = transformed(without(coded(pc.list_flatten(parts)), spec.missing), spec.transform)
    known = single.index >= 0
    owner = pc.list_parent_indices(parts).to_numpy(zero_copy_only=False)[known].astype(np.int64)
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    kept = place < several.most
    members = np.full((len(column.values), several.most), -1, dtype=np.int64)
    members[owner[kept], place[kept]] = single.index[known][kept]
    surplus = np.bincount(owner[~kept], minlength=len(column.values))
    return CodedLists(single.values, members, column.index, surplus)
