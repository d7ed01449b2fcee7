"""Counts of a column's values by split, fold and label, which are gathered block by block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.check.alone import Counts
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL, SPLITS

FOLDS = 3
NUMBER_BINS = 1 << 16
_SHIFT = np.uint32(16)
_SIGN = np.uint32(1 << 31)


@dataclass(frozen=True, slots=True)
class LabelledBlock:
    """Labels of some rows of a split.

    Attributes
    ----------
    split
        Position of the split in `SPLITS`.
    fold
        Fold of each row (n,).
    positive
        Rows with the label 1 of each task, as numbers within the block.
    unlabelled
        Rows without a label, by the position of each task that has some.
    """

    split: int
    fold: npt.NDArray[np.int64]
    positive: tuple[npt.NDArray[np.int64], ...]
    unlabelled: Mapping[int, npt.NDArray[np.int64]]

    @classmethod
    def of(cls, split: int, start: int, labels: Array) -> LabelledBlock:
        """Return the block of rows that begin at `start`, with labels (n, T)."""
        fold = (np.arange(start, start + len(labels), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
        by_task = np.ascontiguousarray(labels.T)
        lacking = {task: np.flatnonzero(own == MISSING_LABEL) for task, own in enumerate(by_task)}
        return cls(
            split,
            (fold % np.uint64(FOLDS)).astype(np.int64),
            tuple(np.flatnonzero(own == 1) for own in by_task),
            {task: rows for task, rows in lacking.items() if len(rows)},
        )


@dataclass(frozen=True, slots=True)
class ColumnCounts:
    """Counts of the V different values that a column has.

    Attributes
    ----------
    values
        Values (V,), ascending.
    by_split
        Rows of each value by split (S, V).
    positives, rows
        Positive rows and all rows with a label, by task, fold and value (T, F, V).
    """

    values: Counts
    by_split: Counts
    positives: Counts
    rows: Counts


class ColumnCounter:
    """Counter of one column.

    Parameters
    ----------
    size
        Number of possible values, which are 0 to `size` - 1.
    tasks
        Number of tasks.
    folds
        Number of folds F: 1 if no out-of-fold mean is needed.
    """

    def __init__(self, size: int, tasks: int, folds: int) -> None:
        self._shape = (folds, size)
        self._rows = np.zeros((len(SPLITS), folds * size), dtype=np.uint32)
        self._positives = np.zeros((tasks, folds * size), dtype=np.uint32)
        self._unlabelled: dict[int, npt.NDArray[np.uint32]] = {}

    def add(self, values: Array, block: LabelledBlock) -> None:
        """Count the rows of a block, whose values are (n,)."""
        folds, size = self._shape
        keys = np.add(values, block.fold * size, dtype=np.int64) if folds > 1 else values
        self._count(keys, self._rows[block.split])
        for task, positive in enumerate(block.positive):
            self._count(keys[positive], self._positives[task])
        for task, lacking in block.unlabelled.items():
            own = self._unlabelled.setdefault(task, np.zeros_like(self._rows[0]))
            self._count(keys[lacking], own)

    def counts(self) -> ColumnCounts:
        """Return the counts of the values that are there."""
        rows = self._rows.reshape(len(SPLITS), *self._shape)
        values = np.flatnonzero(np.bitwise_or.reduce(self._rows).reshape(self._shape).any(axis=0))
        by_split = rows[:, :, values].astype(np.int64)
        positives = self._positives.reshape(-1, *self._shape)[:, :, values].astype(np.int64)
        labelled = np.tile(by_split.sum(axis=0), (len(positives), 1, 1))
        for task, lacking in self._unlabelled.items():
            labelled[task] -= lacking.reshape(self._shape)[:, values]
        return ColumnCounts(values, by_split.sum(axis=1), positives, labelled)

    @staticmethod
    def _count(keys: Array, into: npt.NDArray[np.uint32]) -> None:
        if len(keys) < len(into):  # cheaper than a pass over all values
            np.add.at(into, keys, np.uint32(1))
        else:
            into += np.bincount(keys, minlength=len(into)).astype(np.uint32)


def number_bins(numbers: Array) -> npt.NDArray[np.int64]:
    """Return the bins of 32-bit numbers in ascending order: a bin is as wide as 1/128 to 1/256 of its numbers."""
    bits = np.ascontiguousarray(numbers, dtype=np.float32).view(np.uint32)
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return (ordered >> _SHIFT).astype(np.int64)


MEAN_BIN = int(number_bins(np.zeros(1, np.float32))[0])
"""Bin of the number 0, the mean, which stands for a missing number."""
