"""Report of ids that were rounded when their file was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pfmsmtrec_flwr.data.prepare.columns import Output
from pfmsmtrec_flwr.data.read.sources import SourceFile
from pfmsmtrec_flwr.log import logger


def columns_of_ids(outputs: Sequence[Output]) -> list[str]:
    """Return the columns in which a rounded number would be another value."""
    exact = [output for output in outputs if output.exact]
    return list(dict.fromkeys(column for output in exact for column in (output.column, *output.others)))


def warn_of_rounded_ids(source: SourceFile, counts: Mapping[str, int]) -> None:
    """Warn of each column of a file that holds rounded ids, with their number of rows."""
    for column, count in counts.items():
        logger.warning(
            "%s, column '%s': %s rows hold ids of 16 digits or more as floating-point numbers, which were rounded when "
            "the file was written: ids may have become one, and differ from those in other files: write the column as "
            "integers or as text",
            source,
            column,
            f"{count:,}",
        )
