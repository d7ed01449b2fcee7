from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.array_forms import LARGEST_VALUE, ArrayForm

MATRIX = torch.arange(6, dtype=torch.float32).view(2, 3)


@pytest.mark.parametrize(
    "tensor",
    [
        MATRIX,
        MATRIX.T,  # saved in Fortran's order
        torch.tensor(7),
        torch.zeros(0, 2),
        torch.tensor([True, False]),
        torch.tensor([[-0.0, 1e-40], [LARGEST_VALUE, -LARGEST_VALUE]]),
        torch.ones(3, dtype=torch.float64),
    ],
)
def test_a_tensor_is_read_as_it_was_to_the_bit(tensor: Tensor) -> None:
    array = Array(tensor.numpy())
    read = ArrayForm.of(tensor).read(array, "w")
    assert read.dtype == tensor.dtype
    assert read.numpy().tobytes() == tensor.numpy().tobytes()
    read.zero_()  # its memory is its own
    assert np.array_equal(array.numpy(), tensor.numpy())


def test_an_axis_may_have_any_length_up_to_a_largest_one() -> None:
    form = ArrayForm((None, 3), np.dtype(np.float32), most=2)
    assert torch.equal(form.read(Array(MATRIX.numpy()), "w"), MATRIX)
    with pytest.raises(UserError, match=r"^w is float32 \(3, 3\), expected float32 \(up to 2, 3\)$"):
        form.read(Array(np.zeros((3, 3), np.float32)), "w")


def changed(**changes: Any) -> Array:
    array = Array(MATRIX.numpy())
    for name, value in changes.items():
        setattr(array, name, value)
    return array


DATA = Array(MATRIX.numpy()).data


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (Array(MATRIX.numpy().astype(">f4")), r"w is >f4 \(2, 3\), expected float32 \(2, 3\)"),
        (Array(MATRIX.double().numpy()), r"w is float64 \(2, 3\), expected float32 \(2, 3\)"),
        (Array(np.zeros((2, 3), "<U3")), r"w is <U3 \(2, 3\), expected float32 \(2, 3\)"),
        (Array(np.zeros((1, 3), np.float32)), r"w is float32 \(1, 3\), expected float32 \(2, 3\)"),
        (Array(np.full((2, 3), np.nan, np.float32)), r"w has values that are not finite; lower train.lr"),
        (Array(np.full((2, 3), -np.inf, np.float32)), r"w has values that are not finite; lower train.lr"),
        (Array(np.full((2, 3), -2e15, np.float32)), r"w has values up to 2.0e\+15; lower train.lr"),
        (changed(data=DATA[:-1]), "w has 23 bytes of values, expected 24"),
        (changed(data=DATA + b"\0"), "w has 25 bytes of values, expected 24"),
        (changed(data=DATA.replace(b"(2, 3)", b"(0, 6)")), r"w is float32 \(0, 6\), expected float32 \(2, 3\)"),
        (changed(data=b""), "w is not an array of numbers as numpy saves it"),
        (changed(data=DATA.replace(b"False", b"x" * 5)), "w is not an array of numbers as numpy saves it"),
        (changed(data=DATA.replace(b"<f4", b"|O8")), r"w is \|O8 \(2, 3\), expected float32 \(2, 3\)"),
        (changed(stype="torch"), "w is not an array of numbers as numpy saves it"),
        (changed(dtype="float64"), r"w is announced as float64 \(2, 3\), but it is float32 \(2, 3\)"),
        (changed(shape=(3, 2)), r"w is announced as float32 \(3, 2\), but it is float32 \(2, 3\)"),
    ],
)
def test_an_array_of_another_form_is_refused(array: Array, said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}$"):
        ArrayForm.of(MATRIX).read(array, "w")


def test_a_length_that_overflows_takes_no_memory() -> None:
    array = changed(data=DATA.replace(b"(2, 3), }      ", b"(2, 999999999999999999999, }      ")[:152])
    with pytest.raises(UserError):
        ArrayForm.of(MATRIX).read(array, "w")


@given(st.binary(max_size=300) | st.builds(lambda cut, more: DATA[:cut] + more, st.integers(0, 152), st.binary()))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    with suppress(UserError):
        read = ArrayForm.of(MATRIX).read(changed(data=data), "w")
        assert read.shape == (2, 3)
