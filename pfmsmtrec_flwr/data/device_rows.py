"""The rows of a split in the memory of a device, from which batches are gathered there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pfmsmtrec_flwr.data.batches import Batch, batches, refuse_other_labels, window_of
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL
from pfmsmtrec_flwr.data.store.reader import Split


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """The rows of a split as tensors on a device."""

    split: Split
    """Same rows in main memory."""
    categorical: Tensor
    """int32 (n, C)."""
    numeric: Tensor
    """float32 (n, N)."""
    labels: Tensor
    """uint8 (n, T)."""

    @classmethod
    def of(cls, split: Split, device: torch.device) -> DeviceRows:
        """Copy the rows of a split to a device.

        Raises
        ------
        UserError
            A label is neither 0 nor 1, nor missing where labels may be.
        """
        refuse_other_labels(split.labels[split.labels != MISSING_LABEL] if split.unlabelled else split.labels)
        arrays = split.categorical, split.numeric, split.labels
        return cls(split, *(torch.tensor(array, device=device) for array in arrays))

    def batches(self, batch_size: int, generator: np.random.Generator) -> Iterator[Batch]:
        """Yield the rows once, in the batches and in the order in which `batches` yields those of the split."""
        positions = _positions(len(self.split))
        window = window_of(self.split, batch_size)
        device = self.labels.device
        for drawn in batches(positions, batch_size, generator=generator, device=device, window_rows=window):
            yield self._gather(drawn.categorical[:, 0])

    def _gather(self, rows: Tensor) -> Batch:
        labels = self.labels[rows]
        there = labels != MISSING_LABEL if self.split.unlabelled else None
        labels = labels.float() if there is None else torch.where(there, labels, 0).float()
        return Batch(self.categorical[rows], self.numeric[rows], labels, there)


def _positions(rows: int) -> Split:
    """Return a split whose only values are the numbers of its rows, so that its batches are an order of rows."""
    nothing = np.empty((rows, 0), np.float32)
    return Split(np.arange(rows)[:, None], nothing, nothing.astype(np.uint8), users=None, probabilities=None)
