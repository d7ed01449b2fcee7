"""Findings about one column, from the counts of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pfmsmtrec_flwr.data.check.counting import ColumnCounts
from pfmsmtrec_flwr.data.check.findings import Finding
from pfmsmtrec_flwr.data.store.manifest import SPLITS
from pfmsmtrec_flwr.data.store.reader import ScenarioStore

LARGEST_AUC = 0.98
LARGEST_JUMP = 0.25

_FEWEST = 10  # rows of each class; a column may order fewer by chance
_NOISE = 2.0  # standard deviations, about, of a difference of shares
_UNKNOWN = "missing or unknown"


@dataclass(frozen=True, slots=True)
class CheckedColumn:
    """A column with all that is known of it.

    Attributes
    ----------
    name, counts
        Its name and the counts of its values.
    aucs
        AUC of the column alone for each task.
    text
        Function from a value to its text; None for numbers, whose values are bins in their order.
    several
        Whether rows have several values, of which 0 is padding.
    """

    name: str
    counts: ColumnCounts
    aucs: list[float]
    text: Callable[[int], str] | None = None
    several: bool = False


def findings_of(store: ScenarioStore, column: CheckedColumn) -> Iterator[Finding]:
    """Yield the findings about a column: leaks of each task, then a constant value or a jump between splits."""
    equal: list[str] = []
    ordering: list[str] = []
    counted = 0
    for task, auc in enumerate(column.aucs):
        positives, rows = (each[task].sum(axis=0) for each in (column.counts.positives, column.counts.rows))
        classes = (int(positives.sum()), int((rows - positives).sum()))
        if min(classes) < _FEWEST:
            continue
        there = rows > 0
        pure = bool(np.all((positives[there] == 0) | (positives[there] == rows[there])))
        if pure and there.sum() == len(classes) and not column.several:
            equal.append(store.tasks[task])
        elif auc > LARGEST_AUC:
            ordering.append(f"AUC {auc:.3f} for {store.tasks[task]}")
        else:
            continue
        counted = max(counted, sum(classes))
    for figure, remedy in (
        (f"equals {', '.join(equal)}" * bool(equal), "remove it"),
        (f"alone {', '.join(ordering)}" * bool(ordering), "remove it, unless known before the impression"),
    ):
        if figure:
            yield Finding(store.scenario, column.name, figure, counted, remedy, leak=True)
    yield from _constant_or_jumping(store, column)


def _constant_or_jumping(store: ScenarioStore, column: CheckedColumn) -> Iterator[Finding]:
    values, by_split = column.counts.values, column.counts.by_split
    if column.several and len(values) > 1:  # without padding
        values, by_split = values[values > 0], by_split[:, values > 0]
    if len(values) == 1:
        empty = column.text is not None and values[0] == 0
        figure = f"{_UNKNOWN} in every row" if empty else "constant"
        yield Finding(store.scenario, column.name, figure, _rows_of(store), "leave it out here", leak=False)
        return
    rows = by_split.sum(axis=1)
    if not rows.all():
        return
    shares = by_split / rows[:, None]
    if column.text is None:
        shares = shares.cumsum(axis=1)
    jumps = np.abs(shares[1:] - shares[0])
    split, place = divmod(int(jumps.argmax()), len(values))
    held_out, value = split + 1, int(values[place])
    if jumps.max() <= max(LARGEST_JUMP, _NOISE * float(np.sqrt(1 / rows[0] + 1 / rows[held_out]))):
        return
    before, after = (f"{shares[each, place]:.0%} of {SPLITS[each]}" for each in (0, held_out))
    what = "lower numbers" if column.text is None else column.text(value) if value else _UNKNOWN
    remedy = "is it filled alike in both?" if what == _UNKNOWN else "does it mean the same in both?"
    figure = f"{what}: {before}, {after}"
    yield Finding(store.scenario, column.name, figure, len(store.splits[SPLITS[held_out]]), remedy, leak=False)


def _rows_of(store: ScenarioStore) -> int:
    return sum(len(split) for split in store.splits.values())
