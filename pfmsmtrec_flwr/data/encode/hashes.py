"""Encoders that map hashes of categorical values to rows: buckets, and vocabularies learned from counts.

Values are distinguished by 64-bit hashes of their texts, so that counting takes some 80 bytes per distinct value,
however long its text is. Among ten million values, the probability that two have the same hash is 3 in a million.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.encode.encoders import NO_HASH, Integers
from pfmsmtrec_flwr.data.schema.feature_sections import VocabularySection

Hashes: TypeAlias = npt.NDArray[np.uint64]

_FEWEST_PENDING = 100_000


class HashedEncoder(Protocol):
    """Map from hashes to rows."""

    @property
    def size(self) -> int:
        """Number of rows of the table, the reserved row included."""

    def rows(self, hashes: Hashes) -> npt.NDArray[np.int32]:
        """Return the row of each hash, in their shape; 0 if it has none."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Encoder by the remainder of the hash, the same on every machine."""

    buckets: int

    @property
    def size(self) -> int:
        """Number of rows of the table."""
        return self.buckets + 1

    def rows(self, hashes: Hashes) -> npt.NDArray[np.int32]:
        """Return the bucket plus one; 0 for a missing value."""
        rows = (hashes % np.uint64(self.buckets)).astype(np.int32) + np.int32(1)
        return np.where(hashes == NO_HASH, np.int32(0), rows)

    def colliding(self, values: Hashes) -> int:
        """Count the distinct values that share their bucket with another value."""
        rows = self.rows(values)
        shared = np.bincount(rows, minlength=self.size) > 1 if len(rows) else np.zeros(self.size, dtype=bool)
        return int(shared[rows].sum())


class LearnedVocabulary:
    """Encoder of the frequent hashes; the most frequent has row 1."""

    def __init__(self, hashes: Hashes) -> None:
        self._order = np.argsort(hashes)
        self._sorted = hashes[self._order]

    @property
    def size(self) -> int:
        """Number of rows of the table."""
        return len(self._sorted) + 1

    @property
    def hashes(self) -> Hashes:
        """Hashes in the order of their rows."""
        hashes = np.empty_like(self._sorted)
        hashes[self._order] = self._sorted
        return hashes

    def rows(self, hashes: Hashes) -> npt.NDArray[np.int32]:
        """Return the rank; 0 for an unknown value."""
        if not len(self._sorted):
            return np.zeros(hashes.shape, dtype=np.int32)
        place = np.minimum(np.searchsorted(self._sorted, hashes), len(self._sorted) - 1)
        return np.where(self._sorted[place] == hashes, self._order[place] + 1, 0).astype(np.int32)


class HashCounter:
    """Counter of hashes over many blocks."""

    def __init__(self) -> None:
        self._hashes: Hashes = np.empty(0, dtype=np.uint64)
        self._counts: Integers = np.empty(0, dtype=np.int64)
        self._pending: list[tuple[Hashes, Integers]] = []
        self._waiting = 0

    def add(self, hashes: Hashes) -> None:
        """Count more hashes; missing values are left out."""
        known, counts = np.unique(hashes[hashes != NO_HASH], return_counts=True)
        self._pending.append((known, counts.astype(np.int64)))
        self._waiting += len(known)
        if self._waiting > max(len(self._hashes), _FEWEST_PENDING):  # only when the values may have doubled
            self._merge()

    def values(self) -> Hashes:
        """Return the distinct hashes in ascending order."""
        self._merge()
        return self._hashes

    def vocabulary(self, spec: VocabularySection) -> LearnedVocabulary:
        """Return the frequent hashes by descending count, and by hash where counts are equal."""
        self._merge()
        kept = self._counts >= spec.min_count
        hashes, counts = self._hashes[kept], self._counts[kept]
        return LearnedVocabulary(hashes[np.argsort(-counts, kind="stable")][: spec.max_size])

    def _merge(self) -> None:
        if not self._pending:
            return
        hashes = np.concatenate([self._hashes, *(known for known, _ in self._pending)])
        counts = np.concatenate([self._counts, *(count for _, count in self._pending)])
        self._hashes, place = np.unique(hashes, return_inverse=True)
        self._counts = np.bincount(place, weights=counts, minlength=len(self._hashes)).astype(np.int64)
        self._pending, self._waiting = [], 0
