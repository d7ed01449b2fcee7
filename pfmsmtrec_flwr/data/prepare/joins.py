"""Joins with side tables, by the 64-bit hash of a key.

The outputs of a side table are derived when it is read and are kept in a spool on disk. Only its sorted keys are in
memory, 16 bytes per row. So a side table may be larger than memory, and the main table's rows keep their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.encode.encoders import NO_HASH
from pfmsmtrec_flwr.data.encode.hashes import Hashes
from pfmsmtrec_flwr.data.prepare.columns import Output, key_output
from pfmsmtrec_flwr.data.prepare.progress import progress_bar
from pfmsmtrec_flwr.data.prepare.rounded_ids import columns_of_ids, warn_of_rounded_ids
from pfmsmtrec_flwr.data.prepare.spool import Spool, SpoolWriter
from pfmsmtrec_flwr.data.read.blocks import ColumnSelection, ignore
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.read.tables import read_blocks
from pfmsmtrec_flwr.data.schema.table_sections import JoinSection
from pfmsmtrec_flwr.errors import UserError

RowNumbers: TypeAlias = npt.NDArray[np.int64]

_KEY = "key"


def columns_of(outputs: Sequence[Output], more: Sequence[str] = ()) -> ColumnSelection:
    """Return the columns that outputs are derived from, and `more` columns of text."""
    texts = [column for output in outputs if not output.number for column in (output.column, *output.others)]
    numbers = [output.column for output in outputs if output.number]
    lists = [output.column for output in outputs if output.width is not None and not output.others]
    return ColumnSelection(*(tuple(dict.fromkeys(names)) for names in ([*more, *texts], numbers, lists)))


@dataclass(frozen=True, slots=True)
class JoinMatch:
    """Matching rows of the main and the side table.

    Attributes
    ----------
    main
        Rows of the main table in ascending order; None means each row once.
    side
        Row of the side table for each of them; -1 if there is none.
    """

    main: RowNumbers | None
    side: RowNumbers


class SideTable:
    """A side table that was read, ready to be joined.

    Parameters
    ----------
    join
        Section of the schema.
    sources
        Files of the table.
    outputs
        Outputs to derive from its columns.
    folder
        Folder of the spool.
    progress
        Show a progress bar if standard error is a terminal.

    Raises
    ------
    UserError
        A file cannot be read, the table is empty, or a key repeats that must be unique.
    """

    def __init__(
        self,
        join: JoinSection,
        sources: Sequence[SourceFile],
        outputs: Sequence[Output],
        folder: Path,
        *,
        progress: bool,
    ) -> None:
        self.join = join
        self.sources = tuple(sources)
        self.outputs = tuple(outputs)
        self.key_there = join.key_there or join.key
        self.asked = 0
        self.matched = 0
        self._spool = self._read(folder, progress)
        keys = self._spool.column(_KEY)
        self._order = np.argsort(keys, kind="stable")
        self._keys: Hashes = keys[self._order]
        if join.how == "left":
            self._refuse_repeated()

    def match(self, keys: Hashes) -> JoinMatch:
        """Return the rows that match the main table's keys (n,)."""
        self.asked += len(keys)
        first = np.searchsorted(self._keys, keys)
        if self.join.how == "left":
            place = np.minimum(first, len(self._keys) - 1)
            found = (self._keys[place] == keys) & (keys != NO_HASH)
            self.matched += int(found.sum())
            return JoinMatch(None, np.where(found, self._order[place], -1))
        count = np.where(keys == NO_HASH, 0, np.searchsorted(self._keys, keys, side="right") - first)
        self.matched += int((count > 0).sum())
        main = np.repeat(np.arange(len(keys)), count)
        within = np.arange(len(main)) - np.repeat(np.cumsum(count) - count, count)
        return JoinMatch(main, self._order[first[main] + within])

    def values(self, match: JoinMatch) -> dict[str, Array]:
        """Return the outputs for the rows of a match."""
        found: dict[str, Array] = {}
        unknown = match.side < 0
        for output in self.outputs:
            taken = self._spool.take(output.name, match.side)
            taken[unknown] = output.missing
            found[output.name] = taken
        return found

    def summary(self) -> str:
        """Describe the rows of the main table without a match; empty if there are none."""
        lost = self.asked - self.matched
        what = "are left out" if self.join.how == "inner" else "have missing values"
        return (
            f"{lost:,} of {self.asked:,} rows find no '{self.key_there}' in {self.sources[0].name} and {what}"
            if lost
            else ""
        )

    def unmatched(self) -> UserError | None:
        """Return an error if no row of the main table had a match; None if rows matched or none were asked for."""
        if self.matched or not self.asked:
            return None
        return UserError(
            f"{self.sources[0]}: its column '{self.key_there}' matches no row of the main table's "
            f"'{self.join.key}': are both of the same data set?"
        )

    def _read(self, folder: Path, progress: bool) -> Spool:
        layout: dict[str, tuple[str, int | None]] = {_KEY: ("uint64", None)}
        layout |= {output.name: (output.dtype, output.width) for output in self.outputs}
        key = key_output(self.key_there)
        wanted = columns_of(self.outputs, [self.key_there])
        total = sum(source.size() for source in self.sources)
        title = f"reading {self.sources[0].name}"
        with SpoolWriter(folder, layout) as writer, progress_bar(title, total, wanted=progress) as advance:
            for source in self.sources:
                rounded: Counter[str] = Counter()
                for block in read_blocks(source, self.join, wanted, advance):
                    chunk = Chunk.of(source, self.join, block)
                    made: Mapping[str, Array] = {output.name: output.make(chunk) for output in self.outputs}
                    writer.append({_KEY: key.make(chunk), **made})
                    rounded += Counter(chunk.rounded(columns_of_ids([key, *self.outputs])))
                warn_of_rounded_ids(source, rounded)
            if not writer.rows:
                raise UserError(f"{self.sources[0]}: the table is empty")
            return writer.finish()

    def _refuse_repeated(self) -> None:
        repeated = (self._keys[1:] == self._keys[:-1]) & (self._keys[1:] != NO_HASH)
        if repeated.any():
            raise UserError(
                f"{self.sources[0]}: the key '{self.key_there}' must be unique, "
                f"got {self._text_of(self._keys[1:][repeated][0])} more than once"
            )

    def _text_of(self, key: np.uint64) -> str:
        """Search for the text of a hash."""
        for source in self.sources:
            for block in read_blocks(source, self.join, ColumnSelection((self.key_there,)), ignore):
                chunk = Chunk.of(source, self.join, block)
                found = np.flatnonzero(key_output(self.key_there).make(chunk) == key)
                if len(found):
                    texts = chunk.coded(self.key_there)
                    return repr(texts.values[texts.index[found[0]]])
        return "a value"
