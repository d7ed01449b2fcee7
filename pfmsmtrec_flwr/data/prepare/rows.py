"""Rows of a data set: its files in order, with side tables joined and columns of fixed width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.prepare.columns import Output, key_output
from pfmsmtrec_flwr.data.prepare.joins import SideTable, columns_of
from pfmsmtrec_flwr.data.prepare.progress import progress_bar
from pfmsmtrec_flwr.data.prepare.rounded_ids import columns_of_ids, warn_of_rounded_ids
from pfmsmtrec_flwr.data.prepare.side_tables import SideTables
from pfmsmtrec_flwr.data.prepare.source_parts import SourcePart
from pfmsmtrec_flwr.data.read.blocks import Block, ColumnSelection
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.diagnosis import missing_column
from pfmsmtrec_flwr.data.read.parallel import in_order
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.read.tables import block_tasks, column_names, read_blocks
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.table_sections import TableSection
from pfmsmtrec_flwr.errors import UserError


@dataclass(frozen=True, slots=True)
class DerivedRows:
    """Rows with their outputs.

    Attributes
    ----------
    chunk
        Rows of the main table that they come from.
    arrays
        Outputs by name, each (n,).
    origin
        Row of the chunk for each of them; None means the same rows as in the chunk.
    rounded
        Number of rounded ids of the chunk by column.
    """

    chunk: Chunk
    arrays: dict[str, Array]
    origin: npt.NDArray[np.int64] | None
    rounded: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.chunk) if self.origin is None else len(self.origin)

    def error(self, output: Output, wrong: npt.NDArray[np.bool_], expected: str) -> UserError:
        """Return the error for the first wrong value of an output."""
        if output.column not in self.chunk.columns:
            return UserError(
                f"{self.chunk.source}: a row finds in its side table no '{output.column}' or a wrong one, {expected}"
            )
        if self.origin is not None:
            rows = np.zeros(len(self.chunk), dtype=bool)
            rows[self.origin[wrong]] = True
            wrong = rows
        return self.chunk.error(output.column, wrong, expected)


class Reader:
    """Reader of scenarios that come from the same files.

    Parameters
    ----------
    schema
        Schema with the form of the files.
    parts
        Files in the order in which they are read.
    workspace
        Folder for the spools of side tables.
    progress
        Show progress bars if standard error is a terminal.
    """

    def __init__(
        self,
        schema: DatasetSchema,
        parts: Sequence[SourcePart],
        workspace: Path,
        *,
        progress: bool = True,
    ) -> None:
        self.schema = schema
        self.parts = parts
        self._progress = progress
        self._sides = SideTables(workspace, progress=progress)

    def rows(self, part: SourcePart, outputs: Sequence[Output], more: Sequence[str] = ()) -> Iterator[DerivedRows]:
        """Yield the rows of a file, joined with its side tables.

        Parameters
        ----------
        part
            File and its side tables.
        outputs
            Outputs to derive.
        more
            Further columns of the file, which the chunks have as text.

        Raises
        ------
        UserError
            A column is missing, or a row or a value cannot be read.
        """
        own, sides = self._owners(part, outputs)
        keys = [key_output(side.join.key) for side in sides]
        distinct = {key.name: key for key in keys}  # several side tables may have the same key
        table, source = self.schema.table, part.source
        rounded: Counter[str] = Counter()
        with progress_bar(f"reading {source.name}", source.size(), wanted=self._progress) as advance:
            tasks = block_tasks(source, table, columns_of([*own, *distinct.values()], more), advance)
            made = [*own, *distinct.values()]
            for rows in in_order(partial(_derived, source, table, made, task) for task in tasks):
                rounded += Counter(rows.rounded)
                hashes = {name: rows.arrays.pop(name) for name in distinct}
                yield _joined(rows, [hashes[key.name] for key in keys], sides)
        warn_of_rounded_ids(source, rounded)

    def refuse_unmatched(self) -> None:
        """Refuse side tables without any match. Call it after all files are read.

        Raises
        ------
        UserError
            The message names both keys.
        """
        self._sides.close()

    def column(self, name: str) -> Generator[Chunk, None, None]:
        """Yield a column of all rows of all files as text.

        Raises
        ------
        UserError
            The column is in no table.
        """
        for part in self.parts:
            table, sources = self._having(part, name)
            for source in sources:
                with progress_bar(f"days of {source.name}", source.size(), wanted=self._progress) as advance:
                    for block in read_blocks(source, table, ColumnSelection((name,)), advance):
                        yield Chunk.of(source, table, block)

    def _owners(self, part: SourcePart, outputs: Sequence[Output]) -> tuple[list[Output], list[SideTable]]:
        """Return the outputs of the main table, and the side tables with the other outputs."""
        names = column_names(part.source, self.schema.table)
        own = [output for output in outputs if output.column in names]
        remaining = [output for output in outputs if output.column not in names]
        sides: list[SideTable] = []
        for place, (join, sources) in enumerate(zip(self.schema.joins, part.sides, strict=True)):
            there = column_names(sources[0], join)
            made = [output for output in remaining if output.column in there]
            remaining = [output for output in remaining if output.column not in there]
            if made or join.how == "inner":
                if join.key not in names:
                    raise missing_column(part.source, self.schema.table, join.key, names)
                sides.append(self._sides.read(place, join, sources, made))
        if remaining:
            raise missing_column(part.source, self.schema.table, remaining[0].column, names)
        return own, sides

    def _having(self, part: SourcePart, column: str) -> tuple[TableSection, tuple[SourceFile, ...]]:
        names = column_names(part.source, self.schema.table)
        if column in names:
            return self.schema.table, (part.source,)
        for join, sources in zip(self.schema.joins, part.sides, strict=True):
            if column in column_names(sources[0], join):
                return join, sources
        raise missing_column(part.source, self.schema.table, column, names)


def _derived(
    source: SourceFile, table: TableSection, outputs: Sequence[Output], task: Callable[[], Block]
) -> DerivedRows:
    chunk = Chunk.of(source, table, task())
    arrays = {output.name: output.make(chunk) for output in outputs}
    return DerivedRows(chunk, arrays, None, chunk.rounded(columns_of_ids(outputs)))


def _joined(rows: DerivedRows, keys: Sequence[npt.NDArray[np.uint64]], sides: Sequence[SideTable]) -> DerivedRows:
    arrays, origin = rows.arrays, rows.origin
    for key, side in zip(keys, sides, strict=True):
        match = side.match(key if origin is None else key[origin])
        if match.main is not None:
            arrays = {name: values[match.main] for name, values in arrays.items()}
            origin = match.main if origin is None else origin[match.main]
        arrays |= side.values(match)
    return DerivedRows(rows.chunk, arrays, origin)
