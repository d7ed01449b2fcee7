"""Atomic files of RecBole, ``.inter``, ``.user`` and ``.item``: tabs between columns, and headers with types.

A header such as ``class:token_seq`` is the name and the type of a column. A type that ends in ``_seq`` means several
values with spaces between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pfmsmtrec_flwr.data.encode.several import LIST_SEPARATOR
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.table_sections import TableSection

ATOMIC_ENDINGS = {".inter", ".user", ".item"}

_TYPES = {"token", "token_seq", "float", "float_seq"}


def form_of(source: SourceFile, table: TableSection) -> TableSection:
    """Return the form of a file: that of its section, with tabs in an atomic file unless a delimiter is set."""
    if source.ending not in ATOMIC_ENDINGS or "delimiter" in table.model_fields_set:
        return table
    return table.model_copy(update={"delimiter": "\t"})


def names_and_sequences(source: SourceFile, headers: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names of the columns, and the names of those whose values are sequences."""
    if source.ending not in ATOMIC_ENDINGS:
        return list(headers), []
    parts = [header.rpartition(":") for header in headers]
    typed = [(name, kind) if name and kind in _TYPES else (f"{name}{colon}{kind}", "") for name, colon, kind in parts]
    return [name for name, _ in typed], [name for name, kind in typed if kind.endswith("_seq")]


def split_sequences(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return rows in whose columns `names` the spaces between values are `LIST_SEPARATOR`."""
    for name in names:
        texts = rows.column(name).unify_dictionaries().combine_chunks()
        if isinstance(texts, pa.ChunkedArray):  # without a row
            continue
        values = pc.replace_substring(texts.dictionary, " ", LIST_SEPARATOR)
        column = pa.DictionaryArray.from_arrays(texts.indices, values)
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows
