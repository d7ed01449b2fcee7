"""Blocks of consecutive rows, and the columns to read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

import pyarrow as pa

TEXT = pa.dictionary(pa.int32(), pa.string())
NUMBER = pa.float64()

Advance: TypeAlias = Callable[[int], None]
"""Function called with the number of bytes or rows processed since its last call."""


@dataclass(frozen=True, slots=True)
class ColumnSelection:
    """Names of the columns to read as text and as numbers.

    Attributes
    ----------
    texts, numbers
        Names of the columns of each kind.
    lists
        Columns of text that may be lists, which become texts with `LIST_SEPARATOR` between their values.
    """

    texts: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()

    def all(self) -> tuple[str, ...]:
        """Return every name once."""
        return tuple(dict.fromkeys((*self.texts, *self.numbers)))

    def without(self, names: Collection[str]) -> ColumnSelection:
        """Return the selection without some columns."""
        kept = ([name for name in kind if name not in names] for kind in (self.texts, self.numbers, self.lists))
        return ColumnSelection(*map(tuple, kept))

    def with_texts(self, names: Iterable[str]) -> ColumnSelection:
        """Return the selection in which columns of numbers among `names` are read as text."""
        moved = [name for name in names if name in self.numbers and name not in self.texts]
        return replace(self, texts=(*self.texts, *moved))

    def type_of(self, name: str) -> pa.DataType:
        """Return the type of a column; a column in both is read as text."""
        return TEXT if name in self.texts else NUMBER


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows of a file."""

    rows: pa.Table
    """Rows; columns may be chunked."""
    line_of: Callable[[int], int]
    """Function that reads the file up to a row of the block and returns its line, counted from 1, header included."""


def ignore(_: int) -> None:
    """Ignore progress."""
