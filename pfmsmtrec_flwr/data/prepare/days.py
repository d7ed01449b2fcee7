"""Days of the rows of each split, where the split rule does not keep days apart and a column of times is known."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.encode.times import NO_DAY, day_text
from pfmsmtrec_flwr.data.prepare.clocks import Clock
from pfmsmtrec_flwr.data.prepare.columns import Output
from pfmsmtrec_flwr.data.prepare.scenario_rows import BLOCK_ROWS, DAYS, SPLIT_CODES, ScenarioRows, column_of_days
from pfmsmtrec_flwr.data.prepare.splits import TRAIN, ByUserTime, Splitter
from pfmsmtrec_flwr.data.read.chunks import Chunk
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.schema.time_section import TimeSection
from pfmsmtrec_flwr.data.store.manifest import JSON, SPLITS

_MISSING = np.iinfo(np.int32).min


def day_outputs(schema: DatasetSchema, splitter: Splitter) -> list[Output]:
    """Return the output of each row's day, or none where days are not kept."""
    column = column_of_days(schema)
    if column is None:
        return []
    clock = splitter.clock if isinstance(splitter, ByUserTime) else Clock(column, schema.times[column])

    def make(chunk: Chunk) -> Array:
        texts, days = clock.days(chunk)
        return texts.lookup(np.where(days == NO_DAY, _MISSING, days).astype(np.int32), _MISSING)

    return [Output(DAYS, column, "int32", _MISSING, make)]


def day_record(schema: DatasetSchema, rows: ScenarioRows) -> dict[str, JSON]:
    """Return the entry of a store's manifest about the days of its splits; empty where days are not kept.

    It has the first and the last day of each split, and the number of rows of a day that training rows have too.
    """
    column = column_of_days(schema)
    if column is None:
        return {}
    counts = _days_by_split(rows)
    splits: dict[str, JSON] = {}
    for name, own in zip(SPLITS, counts, strict=True):
        if own:
            first, last = (day_text(day, TimeSection(form="iso")) for day in (min(own), max(own)))
            shared = sum(count for day, count in own.items() if day in counts[TRAIN])
            splits[name] = {"first": first, "last": last, "rows": sum(own.values()), "days_of_training": shared}
    return {"days": {"column": column, "splits": splits}}


def _days_by_split(rows: ScenarioRows) -> list[Counter[int]]:
    """Return the number of rows from the files by day, for each split."""
    counts: list[Counter[int]] = [Counter() for _ in SPLITS]
    start = 0
    for spool in rows.spools:
        days = spool.column(DAYS)
        codes = spool.column(SPLIT_CODES) if rows.codes is None else rows.codes[start : start + spool.rows]
        for first in range(0, spool.rows, BLOCK_ROWS):
            part = slice(first, first + BLOCK_ROWS)
            for code, own in enumerate(counts):
                found, number = np.unique(days[part][codes[part] == code], return_counts=True)
                own.update(dict(zip(found.tolist(), number.tolist(), strict=True)))
        start += spool.rows
    for own in counts:
        own.pop(_MISSING, None)
    return counts
