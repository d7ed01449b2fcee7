"""Numbers that are mostly small, in as few bytes each as they need: seven bits a byte, the lowest first.

The eighth bit of a byte says that the number goes on. Row numbers ascend, so their distances travel in this form, and
most rows of a table take one byte in place of four.

References
----------
LEB128, DWARF Debugging Information Format, version 5, section 7.6.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.federation.packed_numbers import packed, unpacked
>>> packed(torch.tensor([5, 127, 128, 300])).tolist()
[5, 127, 128, 1, 172, 2]
>>> unpacked(packed(torch.tensor([5, 127, 128, 300]))).tolist()
[5, 127, 128, 300]
>>> unpacked(torch.tensor([5, 128], dtype=torch.uint8))
Traceback (most recent call last):
ValueError: the last number has no end
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MOST_BYTES = 5
"""Largest number of bytes of a number, which suffices for 35 bits."""
_BITS = 7
_MORE = 1 << _BITS


def packed(numbers: Tensor) -> Tensor:
    """Return numbers as bytes, (m,) uint8.

    Parameters
    ----------
    numbers
        Numbers (n,) int64 from 0 to 2**35 - 1.
    """
    places = _BITS * torch.arange(MOST_BYTES)
    groups = numbers.long().unsqueeze(1) >> places  # (n, 5), what is left from each group on
    used = (groups > 0) | (places == 0)
    goes_on = torch.nn.functional.pad(used[:, 1:], (0, 1))
    return ((groups & (_MORE - 1)) | (goes_on * _MORE))[used].to(torch.uint8)


def unpacked(data: Tensor) -> Tensor:
    """Return the numbers (n,) int64 of what `packed` made.

    Parameters
    ----------
    data
        Bytes (m,) uint8.

    Raises
    ------
    ValueError
        A number has no end, or more than five bytes.
    """
    groups = data.numpy()
    if not groups.size:
        return torch.empty(0, dtype=torch.int64)
    last = np.flatnonzero(groups < _MORE)
    if not last.size or last[-1] != groups.size - 1:
        raise ValueError("the last number has no end")
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > MOST_BYTES:
        raise ValueError(f"a number has more than {MOST_BYTES} bytes")
    places = np.arange(groups.size) - np.repeat(first, lengths)
    return torch.from_numpy(np.add.reduceat((groups & (_MORE - 1)).astype(np.int64) << (_BITS * places), first))


def packed_rows(rows: Tensor) -> Tensor:
    """Return ascending row numbers (n,) as the bytes of their distances, (m,) uint8."""
    return packed(torch.diff(rows.long(), prepend=rows.new_zeros(1, dtype=torch.int64)))


def unpacked_rows(data: Tensor) -> Tensor:
    """Return the row numbers (n,) int64 of what `packed_rows` made.

    Raises
    ------
    ValueError
        A number has no end, or more than five bytes.
    """
    return unpacked(data).cumsum(0)
