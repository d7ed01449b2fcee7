"""Tables of which each scenario has a file of its own, found by a column and the names of the files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pfmsmtrec_flwr.data.draft.names import SCENARIO_WORDS, subject
from pfmsmtrec_flwr.data.draft.table_files import escaped
from pfmsmtrec_flwr.data.encode.encoders import coded
from pfmsmtrec_flwr.data.schema.table_sections import SCENARIO_MARK

_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """Files that hold a scenario each."""

    column: str
    """Column whose only value in a file is in the file's name."""
    names: dict[str, str]
    """Scenario of each file, by the file's name."""
    pattern: str
    """Name of the files with the mark of the scenario."""

    def scenarios(self, without: Sequence[str]) -> tuple[str, ...]:
        """Return the scenarios of all files but some."""
        return tuple(sorted(scenario for file, scenario in self.names.items() if file not in without))


def find_own_files(files: Sequence[tuple[str, Sequence[pa.Table]]]) -> OwnFiles | None:
    """Return the scenarios of files, if a column says them and their names do.

    Parameters
    ----------
    files
        Name and sampled rows of every file of the table.
    """
    if len(files) < 2:
        return None
    shared = set.intersection(*(set(blocks[0].column_names) if blocks else set() for _, blocks in files))
    columns = [name for name in files[0][1][0].column_names if name in shared] if shared else []
    for column in sorted(columns, key=lambda name: subject(name, SCENARIO_WORDS) is None):
        names = {file: _only_value([block.column(column) for block in blocks]) for file, blocks in files}
        found = {file: name for file, name in names.items() if name is not None and _NAME.fullmatch(name)}
        if len(found) < len(files) or len({name.lower() for name in found.values()}) < len(files):
            continue
        patterns = set.intersection(*(_patterns(file, name) for file, name in found.items()))
        if patterns:
            return OwnFiles(column, found, min(patterns))
    return None


def _only_value(parts: Sequence[pa.ChunkedArray]) -> str | None:
    """Return the value that a column has in every row, if it has just one."""
    found: set[str] = set()
    for part in parts:
        column = coded(part)
        if (column.index < 0).any():
            return None
        found.update(column.values[np.unique(column.index)])
        if len(found) > 1:
            return None
    return found.pop() if found else None


def _patterns(file: str, name: str) -> set[str]:
    """Return the names of a file in which the mark stands where the name of the scenario does."""
    places = [found.start() for found in re.finditer(f"(?={re.escape(name)})", file, re.IGNORECASE)]
    return {escaped(file[:place]) + SCENARIO_MARK + escaped(file[place + len(name) :]) for place in places}
