"""Keys in the names of folders, as Hive and Spark write them: the folder ``country=NL`` makes a column ``country``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from pfmsmtrec_flwr.data.read.blocks import Block, ColumnSelection
from pfmsmtrec_flwr.data.read.sources import SourceFile, is_key_folder

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def folder_keys(source: SourceFile) -> dict[str, str | None]:
    """Return the values of the keys in the names of a file's folders; None stands for a missing value."""
    folders = [*source.path.parts[:-1], *PurePosixPath(source.member).parts[:-1]]
    pairs = [folder.partition("=") for folder in folders if is_key_folder(folder)]
    return {unquote(key): unquote(value) if value not in ("", _NO_VALUE) else None for key, _, value in pairs}


def with_folder_keys(block: Block, keys: Mapping[str, str | None], columns: ColumnSelection) -> Block:
    """Return a block with the columns of a selection, some of which are keys of the file's folders."""
    rows = block.rows
    for name in columns.all():
        if name in keys and name not in rows.schema.names:
            rows = rows.append_column(name, _constant(keys[name], rows.num_rows))
    return Block(rows.select(list(columns.all())), block.line_of)


def _constant(value: str | None, rows: int) -> pa.DictionaryArray:
    if value is None:
        return pa.DictionaryArray.from_arrays(pa.nulls(rows, pa.int32()), pa.array([], pa.string()))
    return pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int32), pa.array([value], pa.string()))
