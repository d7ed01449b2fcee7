"""Files of the scenarios of a data set, in the order in which they are read, with the files of their side tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pfmsmtrec_flwr.data.read.sources import SourceFile, SourceFolder, find_files
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.table_sections import SCENARIO_MARK, SPLIT_MARK
from pfmsmtrec_flwr.errors import UserError


@dataclass(frozen=True, slots=True)
class SourcePart:
    """One file of the main table, with the files of its side tables."""

    source: SourceFile
    sides: tuple[tuple[SourceFile, ...], ...]
    """Files of each join."""
    split: str | None = None
    """Word for the split in the file's name."""


def source_parts(schema: DatasetSchema, folder: SourceFolder, scenarios: Sequence[str]) -> list[SourcePart]:
    """Return the files of scenarios in the order in which they are read.

    Parameters
    ----------
    schema
        Schema with the names of the files.
    folder
        Folder of the files.
    scenarios
        Names of the scenarios; a single one if scenarios have files of their own.

    Raises
    ------
    UserError
        A file is missing.
    """
    rule = schema.split.by_file
    words = [None] if rule is None else [word for word in (rule.train, rule.validation, rule.test) if word is not None]
    parts: list[SourcePart] = []
    for word in words:
        named = [_named(pattern, scenarios[0], word) for pattern in schema.table.files]
        sides = side_files(schema, folder, scenarios[0], word)
        for source in find_files(folder, named):
            if twice := [part for part in parts if part.source.file == source.file]:
                raise UserError(
                    f"{source} is taken both for '{twice[0].split}' and for '{word}': make table.files tell them apart"
                )
            parts.append(SourcePart(source, sides, word))
    return parts


def side_files(
    schema: DatasetSchema, folder: SourceFolder, scenario: str, split: str | None
) -> tuple[tuple[SourceFile, ...], ...]:
    """Return the files of each side table.

    Parameters
    ----------
    schema
        Schema with the names of the files.
    folder
        Folder of the files.
    scenario
        Name of the scenario in the names of the files.
    split
        Word for the split in the names of the files; None: they have none.

    Raises
    ------
    UserError
        A file is missing.
    """
    return tuple(
        tuple(find_files(folder, [_named(pattern, scenario, split) for pattern in join.files])) for join in schema.joins
    )


def _named(pattern: str, scenario: str, split: str | None) -> str:
    return pattern.replace(SCENARIO_MARK, scenario).replace(SPLIT_MARK, split or "")
