"""Scores of the rows of a file, written to a file or to standard output, in bounded memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pfmsmtrec_flwr.data.encode.several import LIST_SEPARATOR
from pfmsmtrec_flwr.data.read.tables import PARQUET_ENDINGS
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.private_files import open_private
from pfmsmtrec_flwr.scoring.raw_tables import table_on_disk
from pfmsmtrec_flwr.scoring.scorer import ScoredRows, Scorer

_CSV = ".csv"


class TableWriter(Protocol):
    """Writer of a table, batch by batch."""

    def write_table(self, table: pa.Table) -> None:
        """Append rows."""

    def close(self) -> None:
        """Complete the table."""


def score_file(
    scorer: Scorer,
    rows: Path,
    output: Path | None,
    *,
    keep: Sequence[str] = (),
    source: Path | None = None,
    scenario: str | None = None,
    raw: bool = False,
    progress: bool = True,
) -> int:
    """Score the rows of a file and return their number.

    Parameters
    ----------
    scorer
        Models.
    rows
        CSV or Parquet file with raw rows.
    output
        File of the scores, ``.csv`` or ``.parquet``, which only its owner may read and which appears when it is
        complete; None: CSV on standard output. It has the columns of `keep`, then a column for each task. A score that
        does not exist is empty.
    keep
        Columns of the rows that are written too.
    source, scenario, raw, progress
        Side tables, scenario of all rows, kind of scores, and progress bars, as of `Scorer.score`.

    Raises
    ------
    UserError
        A file cannot be read or written, or a column is missing.
    """
    table = table_on_disk(rows)
    if output is not None and output.resolve() == rows.resolve():
        raise UserError(f"the scores would replace the rows in {rows}: give another file with --output")
    if both := [name for name in keep if name in scorer.tasks]:
        raise UserError(f"the scores have a column '{both[0]}', the task: rename the column of the rows to keep it")
    blocks = scorer.score(table, keep=keep, source=source, scenario=scenario, raw=raw, progress=progress)
    count = 0
    with _output(output) as (stream, ending):
        writer: TableWriter | None = None
        for block in blocks:
            scored = _table(block, keep, scorer.tasks)
            with _clear_errors(output):
                writer = writer or _writer(stream, ending, scored.schema)
                writer.write_table(scored)
            count += scored.num_rows
        with _clear_errors(output):
            (writer or _writer(stream, ending, _schema_without_rows(keep, scorer.tasks))).close()
    return count


def _table(block: ScoredRows, keep: Sequence[str], tasks: Sequence[str]) -> pa.Table:
    kept = {name: _decoded(block.chunk.columns[name]) for name in keep}
    scores = {
        task: pa.array(block.scores[:, place], mask=np.isnan(block.scores[:, place]))
        for place, task in enumerate(tasks)
    }
    return pa.table(kept | scores)


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a kept column as plain values; lists are texts with ``|`` between their values."""
    if not pa.types.is_dictionary(column.type):
        return column
    kind = column.type.value_type
    plain = pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], type=kind)
    return pc.replace_substring(plain, LIST_SEPARATOR, "|") if pa.types.is_string(kind) else plain


def _schema_without_rows(keep: Sequence[str], tasks: Sequence[str]) -> pa.Schema:
    return pa.schema([*((name, pa.string()) for name in keep), *((task, pa.float32()) for task in tasks)])


def _writer(stream: BinaryIO, ending: str, schema: pa.Schema) -> TableWriter:
    writer: TableWriter = (
        pq.ParquetWriter(stream, schema) if ending in PARQUET_ENDINGS else pacsv.CSVWriter(stream, schema)
    )
    return writer


@contextmanager
def _output(path: Path | None) -> Iterator[tuple[BinaryIO, str]]:
    """Open the output, and put a file into its place when it is complete."""
    if path is None:
        yield sys.stdout.buffer, _CSV
        return
    ending = path.suffix.lower()
    if ending != _CSV and ending not in PARQUET_ENDINGS:
        raise UserError(f"--output {path}: got the ending '{ending}', expected .csv or .parquet")
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with _clear_errors(path):
            stream = open_private(unfinished)
        with stream:
            yield stream, ending
        with _clear_errors(path):
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _clear_errors(path: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path or 'the scores'}: {error.strerror or error}") from None
