"""Rows of a CSV text one by one, each with its line. It is slow, and is for headers and for errors."""

from __future__ import annotations

import csv
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pfmsmtrec_flwr.data.schema.table_sections import TableSection

_LIMIT = threading.Lock()


class BrokenRowError(Exception):
    """A row that is no CSV; `line` is its first line."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line} is no CSV")
        self.line = line


def csv_rows(lines: Iterable[str], table: TableSection, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield the line of each row, counted from 1, and its values; empty lines are left out.

    Parameters
    ----------
    lines
        Lines with their ends.
    table
        Form of the text.
    strict
        Whether a quote that is not closed, and text after a closed one, are errors.

    Raises
    ------
    BrokenRowError
        A row is no CSV.
    """
    reader = csv.reader(lines, delimiter=table.delimiter, quotechar=table.quote, strict=strict)
    while True:
        line = reader.line_num + 1
        try:
            with _fields_of_any_size():
                row = next(reader, None)
        except csv.Error:
            raise BrokenRowError(line) from None
        if row is None:
            return
        if row:
            yield line, row


@contextmanager
def _fields_of_any_size() -> Iterator[None]:
    """Lift the limit of `csv` for the size of a field. It holds for the whole process, so it is put back."""
    with _LIMIT:
        limit = csv.field_size_limit(sys.maxsize)
        try:
            yield
        finally:
            csv.field_size_limit(limit)
