"""Several values in one field of a row, such as the genres of a film, whole arrays at a time.

A column is split once per distinct text; values may also lie in columns of their own. Each row then has a fixed number
of places: its values in their order, then padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pfmsmtrec_flwr.data.encode.encoders import CodedColumn, Integers, Texts, coded, transformed, without
from pfmsmtrec_flwr.data.encode.written_numbers import without_number_words
from pfmsmtrec_flwr.data.schema.column_form import PLAIN, ColumnForm
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection, SeveralSection

LIST_SEPARATOR = "\x1f"
"""Sign between the values of a list that is held as text."""


@dataclass(frozen=True, slots=True)
class CodedLists:
    """Column of lists as distinct values and indices into them."""

    values: Texts
    """Texts of single values, distinct within a column (values,)."""
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


def known_values(column: CodedColumn, spec: FieldSection, form: ColumnForm) -> CodedColumn:
    """Return a column without the values that stand for a missing one in a field."""
    known = without(column, spec.missing, form)
    return without_number_words(known) if spec.needs_numbers else known


def split_values(
    column: CodedColumn, spec: FieldSection, several: SeveralSection, form: ColumnForm = PLAIN
) -> CodedLists:
    """Split the texts of a column into their values, each with the field's transform.

    Missing values are left out, and so are values after the first `several.most`.
    """
    texts = pa.array(column.values, type=pa.string())
    if several.separator is not None:
        texts = pc.replace_substring(texts, several.separator, LIST_SEPARATOR)
    parts = pc.split_pattern(texts, LIST_SEPARATOR)
    single = _single(coded(pc.list_flatten(parts), form), spec, form)
    known = single.index >= 0
    owner = pc.list_parent_indices(parts).to_numpy(zero_copy_only=False)[known].astype(np.int64)
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    kept = place < several.most
    members = np.full((len(column.values), several.most), -1, dtype=np.int64)
    members[owner[kept], place[kept]] = single.index[known][kept]
    surplus = np.bincount(owner[~kept], minlength=len(column.values))
    return CodedLists(single.values, members, column.index, surplus)


def gathered_values(
    columns: Sequence[CodedColumn], spec: FieldSection, most: int, form: ColumnForm = PLAIN
) -> CodedLists:
    """Gather the values of several columns, each with the field's transform.

    Missing values are left out, and so are values after the first `most`.
    """
    single = [_single(column, spec, form) for column in columns]
    starts = np.cumsum([0, *(len(column.values) for column in single)])
    places = [
        np.where(column.index < 0, -1, column.index + start) for column, start in zip(single, starts, strict=False)
    ]
    grid = np.stack(places, axis=1)
    grid = np.take_along_axis(grid, np.argsort(grid < 0, axis=1, kind="stable"), axis=1)
    members = np.full((len(grid), most), -1, dtype=np.int64)
    members[:, : grid.shape[1]] = grid[:, :most]
    values = np.concatenate([column.values for column in single])
    return CodedLists(values, members, np.arange(len(grid)), (grid[:, most:] >= 0).sum(axis=1))


def _single(column: CodedColumn, spec: FieldSection, form: ColumnForm) -> CodedColumn:
    return transformed(known_values(column, spec, form), spec.transform, form)
