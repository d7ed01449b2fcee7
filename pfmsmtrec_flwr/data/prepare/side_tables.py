"""Side tables that are open while the files of the main table are read one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pfmsmtrec_flwr.data.prepare.columns import Output
from pfmsmtrec_flwr.data.prepare.joins import SideTable
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.data.schema.table_sections import JoinSection
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger


class SideTables:
    """Side tables by join. Each is read once for consecutive files of the main table that share it.

    Parameters
    ----------
    workspace
        Folder for their spools.
    progress
        Show progress bars if standard error is a terminal.
    """

    def __init__(self, workspace: Path, *, progress: bool) -> None:
        self._workspace = workspace
        self._progress = progress
        self._open: dict[int, SideTable] = {}
        self._unmatched: list[UserError] = []

    def read(
        self, place: int, join: JoinSection, sources: tuple[SourceFile, ...], outputs: Sequence[Output]
    ) -> SideTable:
        """Return the side table of the join number `place`; a table of other files or outputs is closed.

        Raises
        ------
        UserError
            A file cannot be read, the table is empty, or a key repeats that must be unique.
        """
        found = self._open.get(place)
        wanted = [output.name for output in outputs]
        if found is None or found.sources != sources or [output.name for output in found.outputs] != wanted:
            self._leave([place])
            folder = self._workspace / f"side-{place}"
            self._open[place] = SideTable(join, sources, outputs, folder, progress=self._progress)
        return self._open[place]

    def close(self) -> None:
        """Close all side tables.

        Raises
        ------
        UserError
            A side table had no match. The message names both keys.
        """
        self._leave(list(self._open))
        if self._unmatched:
            raise self._unmatched[0]

    def _leave(self, places: Sequence[int]) -> None:
        """Close side tables that no other file needs, and keep their errors."""
        left = [self._open.pop(place) for place in places if place in self._open]
        self._unmatched += [error for side in left if (error := side.unmatched()) is not None]
        for summary in filter(None, (side.summary() for side in left)):
            logger.info(summary)
