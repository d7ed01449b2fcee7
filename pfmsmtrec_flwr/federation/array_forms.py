"""Forms that arrays of a message must have, checked before and after they are decoded.

An array comes as the bytes that ``numpy.save`` writes, or was taken out of a parcel and brought into that form. Its
header is compared with the form, and the number of its bytes with the header, before memory is taken for its values.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.federation.array_forms import ArrayForm
>>> from pfmsmtrec_flwr.federation.protocol import pack_tensors
>>> sent = pack_tensors({"w": torch.tensor([[1.0, 2.0]])})
>>> ArrayForm.of(torch.zeros(1, 2)).read(sent["w"], "parameter w").tolist()
[[1.0, 2.0]]
>>> ArrayForm.of(torch.zeros(2, 1)).read(sent["w"], "parameter w")
Traceback (most recent call last):
pfmsmtrec_flwr.errors.UserError: parameter w is float32 (1, 2), expected float32 (2, 1)
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import torch
from flwr.app import Array
from torch import Tensor

from pfmsmtrec_flwr.errors import UserError

LARGEST_VALUE = 1e15
"""Largest size of a value: squares of as many values as a model has can be summed in float32."""

_MAGIC = b"\x93NUMPY\x01\x00"
_LONGEST_HEADER = 512
_HEADER = re.compile(
    rb"\{'descr': '(?P<type>[<>|=][a-zA-Z]\d{0,3})', 'fortran_order': (?P<turned>True|False), "
    rb"'shape': \((?P<shape>[\d, ]*)\), \} *\n"
)
_NAMES = {
    np.dtype(name).str: name for name in ("bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64")
}


@dataclass(frozen=True, slots=True)
class ArrayForm:
    """Shape and type of an array.

    Attributes
    ----------
    shape
        Length of each axis; None: any length up to `most`.
    dtype
        Type of the values, in the byte order of this machine.
    most
        Largest length of an axis without a length.
    """

    shape: tuple[int | None, ...]
    dtype: np.dtype[np.generic]
    most: int = 0

    @classmethod
    def of(cls, tensor: Tensor) -> ArrayForm:
        """Return the form of a tensor."""
        return cls(tuple(tensor.shape), torch.empty(0, dtype=tensor.dtype).numpy().dtype)

    def read(self, array: Array, what: str) -> Tensor:
        """Decode an array, in memory of its own.

        Parameters
        ----------
        array
            Array as it came.
        what
            Name of the array, for the message of an error.

        Raises
        ------
        UserError
            The bytes are no array of this form, or a value is not finite or too large.
        """
        header = _Header.of(array, what)
        if not self._fits(header):
            raise UserError(f"{what} is {header}, expected {self}")
        if array.dtype != str(self.dtype) or tuple(array.shape) != header.shape:
            raise UserError(f"{what} is announced as {array.dtype} {tuple(array.shape)}, but it is {header}")
        size = math.prod(header.shape) * self.dtype.itemsize
        if len(array.data) - header.end != size:
            raise UserError(f"{what} has {len(array.data) - header.end} bytes of values, expected {size}")
        flat = np.frombuffer(array.data, dtype=self.dtype, offset=header.end)
        values = flat.reshape(header.shape, order="F" if header.turned else "C")
        tensor = torch.from_numpy(np.array(values))
        _require_bounded(tensor, what)
        return tensor

    def _fits(self, header: _Header) -> bool:
        if header.type != self.dtype.str or len(header.shape) != len(self.shape):
            return False
        axes = zip(header.shape, self.shape, strict=True)
        return all(length == wanted if wanted is not None else length <= self.most for length, wanted in axes)

    def __str__(self) -> str:
        """Return type and shape in words."""
        lengths = [f"up to {self.most}" if length is None else str(length) for length in self.shape]
        return f"{self.dtype} ({', '.join(lengths)})"


@dataclass(frozen=True, slots=True)
class _Header:
    """Header of an array's bytes: type, whether the first axis runs fastest, shape, and where the values begin."""

    type: str
    turned: bool
    shape: tuple[int, ...]
    end: int

    @classmethod
    def of(cls, array: Array, what: str) -> _Header:
        start = len(_MAGIC) + 2
        end = start + int.from_bytes(array.data[len(_MAGIC) : start], "little")
        match = _HEADER.fullmatch(array.data[start:end]) if end <= _LONGEST_HEADER else None
        if array.stype != "numpy.ndarray" or not array.data.startswith(_MAGIC) or match is None:
            raise UserError(f"{what} is not an array of numbers as numpy saves it")
        shape = tuple(int(length) for length in match["shape"].replace(b",", b" ").split())
        return cls(match["type"].decode(), match["turned"] == b"True", shape, end)

    def __str__(self) -> str:
        """Return type and shape in words; a type of another byte order, or of no numbers, is shown as it came."""
        return f"{_NAMES.get(self.type, self.type)} ({', '.join(map(str, self.shape))})"


def _require_bounded(tensor: Tensor, what: str) -> None:
    if not tensor.numel() or tensor.dtype == torch.bool:
        return
    low, high = (float(value) for value in torch.aminmax(tensor))
    if not -LARGEST_VALUE <= low <= high <= LARGEST_VALUE:  # not true of NaN
        said = "values that are not finite" if not math.isfinite(low + high) else f"values up to {max(-low, high):.1e}"
        raise UserError(f"{what} has {said}; lower train.lr")
