"""Values of raw rows that the schema does not know: where most are, a column is probably written in another way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from pfmsmtrec_flwr.data.prepare.columns import UNKNOWN, field_output
from pfmsmtrec_flwr.data.prepare.rows import DerivedRows
from pfmsmtrec_flwr.data.schema.document import DatasetSchema, has
from pfmsmtrec_flwr.log import logger

_FEWEST_ROWS = 20
_WARNED = 0.5


class UnknownValues:
    """Count of the rows with an unknown value, for each field whose values the schema declares.

    New users and items are no mistake, so fields that learned a vocabulary or are hashed do not count.

    Parameters
    ----------
    schema
        Schema of the rows.
    scenarios
        Scenarios that the rows may be of. Fields that not all of them have do not count.
    """

    def __init__(self, schema: DatasetSchema, scenarios: Iterable[str]) -> None:
        wanted = list(scenarios)
        self._fields = [
            name for name, spec in schema.fields.items() if all(has(spec.scenarios, each) for each in wanted)
        ]
        self._counts: Counter[str] = Counter()
        self._rows = 0

    def add(self, rows: DerivedRows) -> None:
        """Count rows."""
        self._rows += len(rows)
        for name in self._fields:
            values = rows.arrays.get(field_output(name))
            if values is not None and values.dtype == np.int32:
                self._counts[name] += int((values == UNKNOWN).reshape(len(values), -1).any(axis=1).sum())

    def warn(self) -> None:
        """Log the fields in which most rows have an unknown value."""
        most = {name: count for name, count in self._counts.items() if count > _WARNED * self._rows}
        if most and self._rows >= _FEWEST_ROWS:
            logger.warning(
                "values that the schema does not know, which count as missing: %s; are they written as in training?",
                ", ".join(f"{name} in {count:,} of {self._rows:,} rows" for name, count in most.items()),
            )
