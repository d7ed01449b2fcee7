"""Counts of a column's values by split, fold and label, which are gathered block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.check.alone import Counts
from pfmsmtrec_flwr.data.store.manifest import SPLITS

FOLDS = 5
NUMBER_BINS = 1 << 17
_SHIFT = np.uint32(15)
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
    positive, negative
        Whether a row has the label 1, or 0, by task (n,).
    """

    split: int
    fold: npt.NDArray[np.int64]
    positive: npt.NDArray[np.bool_]
    negative: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, split: int, start: int, labels: Array) -> LabelledBlock:
        """Return the block of rows that begin at `start`, with labels (n, T)."""
        fold = (np.arange(start, start + len(labels), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
        by_task = np.ascontiguousarray(labels.T)
        return cls(split, (fold % np.uint64(FOLDS)).astype(np.int64), by_task == 1, by_task == 0)


class ColumnCounts:
    """Counts of one column: rows by split, fold and value, and rows and positive rows of each task.

    Parameters
    ----------
    size
        Number of different values V; values are 0 to V - 1.
    tasks
        Number of tasks.
    folds
        Number of folds F: 1 if no out-of-fold mean is needed.
    """

    def __init__(self, size: int, tasks: int, folds: int) -> None:
        self._shape = (folds, size)
        self._rows = np.zeros((len(SPLITS), folds * size), dtype=np.uint32)
        self._positives = np.zeros((tasks, folds * size), dtype=np.uint32)
        self._unlabelled: list[npt.NDArray[np.uint32] | int] = [0] * tasks

    def add(self, values: Array, block: LabelledBlock) -> None:
        """Count the rows of a block, whose values are (n,)."""
        folds, size = self._shape
        keys = values.astype(np.int64) + (block.fold * size if folds > 1 else 0)
        self._rows[block.split] += self._counted(keys)
        for task, (positive, negative) in enumerate(zip(block.positive, block.negative, strict=True)):
            self._positives[task] += self._counted(keys[positive])
            lacking = ~(positive | negative)
            if lacking.any():
                self._unlabelled[task] = self._unlabelled[task] + self._counted(keys[lacking])

    def by_split(self) -> Counts:
        """Return the rows of each value by split (S, V)."""
        return np.asarray(self._rows.reshape(len(SPLITS), *self._shape).sum(axis=1, dtype=np.int64))

    def of_task(self, task: int) -> tuple[Counts, Counts]:
        """Return the positive rows of a task, and the rows with a label, of each value in each fold (F, V)."""
        rows = self._rows.sum(axis=0, dtype=np.int64) - self._unlabelled[task]
        return self._positives[task].astype(np.int64).reshape(self._shape), rows.reshape(self._shape)

    def _counted(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
        return np.bincount(keys, minlength=self._rows.shape[1]).astype(np.uint32)


def number_bins(numbers: Array) -> npt.NDArray[np.int64]:
    """Return the bins of 32-bit numbers in ascending order: a bin is as wide as 1/256 to 1/512 of its numbers."""
    bits = np.ascontiguousarray(numbers, dtype=np.float32).view(np.uint32)
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return (ordered >> _SHIFT).astype(np.int64)


MEAN_BIN = int(number_bins(np.zeros(1, np.float32))[0])
"""Bin of the number 0, the mean, which stands for a missing number."""
