"""Batches as slices and gathers of whole arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.errors import UserError

_BLOCKS_IN_WINDOW = 256
_WINDOW_BYTES = 256 << 20

_Rows = tuple[Array, Array, Array]
"""categorical, numeric and labels of the same rows."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Impressions as tensors."""

    categorical: Tensor
    """int32 (B, C), the columns of all fields."""
    numeric: Tensor
    """float32 (B, N)."""
    labels: Tensor
    """float32 (B, T), 0 where there is none."""
    labelled: Tensor | None = None
    """bool (B, T), whether the row has a label of the task; None: all rows have all labels."""

    def __len__(self) -> int:
        return int(self.labels.shape[0])


def batches(
    split: Split,
    batch_size: int,
    *,
    generator: np.random.Generator | None = None,
    device: torch.device | None = None,
    window_rows: int | None = None,
) -> Iterator[Batch]:
    """Yield the rows of a split once, batch by batch.

    Parameters
    ----------
    split
        Rows to go through.
    batch_size
        Impressions in a batch, at least two. A single row left over at the end joins the batch before it, because
        batch normalization needs two rows.
    generator
        Source of the random order; without it the rows come in their order.
    device
        Device of the tensors; none: main memory.
    window_rows
        Largest number of rows that are shuffled as a whole. A longer split, which may be larger than memory, is
        shuffled in blocks: blocks are drawn in random order, read as slices, and mixed within windows of this size.
        The default is the number of rows that take 256 MiB.

    Raises
    ------
    UserError
        A label is neither 0 nor 1, nor missing where labels may be.
    ValueError
        `batch_size` is below 2 or `window_rows` below 1.
    """
    if window_rows is None:
        window_rows = window_of(split, batch_size)
    if batch_size < 2 or window_rows < 1:
        raise ValueError(f"got batch_size {batch_size} and window_rows {window_rows}, expected at least 2 and 1")
    if generator is None:
        chunks = _in_order(split, batch_size)
    elif len(split) <= window_rows:
        chunks = _shuffled(split, batch_size, generator)
    else:
        chunks = _shuffled_in_windows(split, batch_size, generator, window_rows)
    for rows in _without_single_tail(chunks):
        yield _to_batch(rows, split.unlabelled, device)


def split_bytes(split: Split) -> int:
    """Return the number of bytes of a split's inputs and labels."""
    return len(split) * _row_bytes(split)


def window_of(split: Split, batch_size: int) -> int:
    """Return the number of rows of a split that are shuffled as a whole by default: those of 256 MiB."""
    return max(batch_size, _WINDOW_BYTES // max(1, _row_bytes(split)))


def refuse_other_labels(labels: Array) -> None:
    """Refuse labels that are neither 0 nor 1.

    Raises
    ------
    UserError
        One is neither.
    """
    if (labels > 1).any():
        raise UserError(f"got the label {labels.max()}, expected 0 or 1: the store is damaged, prepare the data again")


def _rows(split: Split) -> _Rows:
    return split.categorical, split.numeric, split.labels


def _row_bytes(split: Split) -> int:
    return sum(array.itemsize * array.shape[1] for array in _rows(split))


def _take(rows: _Rows, index: Array) -> _Rows:
    return rows[0][index], rows[1][index], rows[2][index]


def _in_order(split: Split, batch_size: int) -> Iterator[_Rows]:
    categorical, numeric, labels = _rows(split)
    for start in range(0, len(split), batch_size):
        part = slice(start, start + batch_size)
        yield categorical[part], numeric[part], labels[part]


def _shuffled(split: Split, batch_size: int, generator: np.random.Generator) -> Iterator[_Rows]:
    order = generator.permutation(len(split))
    for start in range(0, len(order), batch_size):
        yield _take(_rows(split), order[start : start + batch_size])


def _shuffled_in_windows(
    split: Split, batch_size: int, generator: np.random.Generator, window_rows: int
) -> Iterator[_Rows]:
    block = max(1, window_rows // _BLOCKS_IN_WINDOW)
    starts = generator.permutation(np.arange(0, len(split), block))
    per_window = max(1, window_rows // block)
    carried: _Rows | None = None  # rows of a window that do not fill a batch are mixed into the next one
    for first in range(0, len(starts), per_window):
        window = _read_blocks(split, starts[first : first + per_window], block, carried)
        order = generator.permutation(len(window[2]))
        last = first + per_window >= len(starts)
        full = len(order) if last else len(order) - len(order) % batch_size
        for start in range(0, full, batch_size):
            yield _take(window, order[start : start + batch_size])
        carried = _take(window, order[full:])


def _read_blocks(split: Split, starts: Array, block: int, carried: _Rows | None) -> _Rows:
    parts = [tuple(array[start : start + block] for array in _rows(split)) for start in np.sort(starts)]
    if carried is not None:
        parts.append(carried)
    categorical, numeric, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return categorical, numeric, labels


def _without_single_tail(chunks: Iterator[_Rows]) -> Iterator[_Rows]:
    previous: _Rows | None = None
    for rows in chunks:
        if previous is not None and len(rows[2]) == 1:  # only the last one can be short
            categorical, numeric, labels = (np.concatenate(pair) for pair in zip(previous, rows, strict=True))
            previous = (categorical, numeric, labels)
            continue
        if previous is not None:
            yield previous
        previous = rows
    if previous is not None:
        yield previous


def _to_batch(rows: _Rows, unlabelled: bool, device: torch.device | None) -> Batch:
    categorical, numeric, labels = rows
    there = None
    if unlabelled:
        there = labels != MISSING_LABEL
        labels = np.where(there, labels, 0)
    refuse_other_labels(labels)
    batch = Batch(
        torch.from_numpy(_writable(categorical)),
        torch.from_numpy(_writable(numeric)),
        torch.from_numpy(labels.astype(np.float32)),
        None if there is None else torch.from_numpy(there),
    )
    if device is None:
        return batch
    return Batch(
        _moved(batch.categorical, device),
        _moved(batch.numeric, device),
        _moved(batch.labels, device),
        None if batch.labelled is None else _moved(batch.labelled, device),
    )


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; a GPU copies from pinned memory while this process goes on."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _writable(values: Array) -> Array:
    """Copy a slice of the store, which is read-only, as no tensor can be; a gather is a copy already."""
    return values if values.flags.writeable else values.copy()
