"""Blocks of rows: which columns are wanted, and some consecutive rows of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa

TEXT = pa.dictionary(pa.int32(), pa.string())
NUMBER = pa.float64()

Advance: TypeAlias = Callable[[int], None]
"""Called with the number of bytes or rows by which the work went on."""


@dataclass(frozen=True, slots=True)
class ColumnSelection:
    """Names of the columns to read, and as what."""

    texts: tuple[str, ...]
    numbers: tuple[str, ...] = ()

    def all(self) -> tuple[str, ...]:
        """Return every name once."""
        return tuple(dict.fromkeys((*self.texts, *self.numbers)))

    def type_of(self, name: str) -> pa.DataType:
        """Return the type it is read as; a column wanted as both is read as text."""
        return TEXT if name in self.texts else NUMBER


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive rows of a file."""

    rows: pa.Table
    """Columns may be chunked."""
    first_line: Callable[[], int]
    """Finds the line of the first row, counted from 1; the header is a line too. It reads the file up to there."""


def ignore(_: int) -> None:
    """Count nothing."""
