"""Standardisation of numeric columns by moments of a scenario's own training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Floats: TypeAlias = npt.NDArray[np.float64]

MOMENT_ROWS = 8192
_ROUNDING = 1e-10


@dataclass(frozen=True, slots=True)
class Standardiser:
    """Mean and standard deviation of each column after its transform."""

    mean: _Floats
    deviation: _Floats

    def apply(self, values: _Floats) -> npt.NDArray[np.float32]:
        """Return (value - mean) / deviation, (n, N). Missing values and constant columns become 0."""
        varying = self.deviation > _ROUNDING * np.abs(self.mean)  # the deviation of a constant is not exactly 0
        scaled = (values - self.mean) / np.where(varying, self.deviation, 1.0)
        return np.where(np.isnan(scaled) | ~varying, 0.0, scaled).astype(np.float32)


class MomentCollector:
    """Collector of means and variances over many chunks.

    Sums run over blocks of a fixed number of rows, whatever the size of the chunks. So a scenario's figures do not
    depend, to the last bit, on other rows in the same file. Blocks are joined as in Chan, Golub and LeVeque,
    "Algorithms for computing the sample variance", The American Statistician 37 (1983).
    """

    def __init__(self, columns: int) -> None:
        self._count = np.zeros(columns)
        self._mean = np.zeros(columns)
        self._squares = np.zeros(columns)
        self._waiting: list[_Floats] = []
        self._rows = 0

    def add(self, values: _Floats) -> None:
        """Add rows (n, N); not-a-number is skipped."""
        self._waiting.append(values)
        self._rows += len(values)
        if self._rows >= MOMENT_ROWS:
            rows = np.concatenate(self._waiting)
            full = len(rows) - len(rows) % MOMENT_ROWS
            for start in range(0, full, MOMENT_ROWS):
                self._join(rows[start : start + MOMENT_ROWS])
            self._waiting, self._rows = [rows[full:]], len(rows) - full

    def standardiser(self) -> Standardiser:
        """Return the standardiser for all rows; call it once, at the end."""
        if self._rows:
            self._join(np.concatenate(self._waiting))
            self._waiting, self._rows = [], 0
        return Standardiser(self._mean, np.sqrt(self._squares / np.maximum(self._count, 1)))

    def _join(self, block: _Floats) -> None:
        known = ~np.isnan(block)
        count = known.sum(axis=0).astype(np.float64)
        mean = np.where(known, block, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = np.where(known, block - mean, 0.0)
        total = self._count + count
        share = count / np.maximum(total, 1)
        shift = np.where(count > 0, mean - self._mean, 0.0)
        self._squares += (squares * squares).sum(axis=0) + shift * shift * self._count * share
        self._mean += shift * share
        self._count = total
