"""Batches: each row once, in order or shuffled, never a lone last row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.data.batches import batches
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.errors import UserError


def split_of(rows: int) -> Split:
    number = np.arange(rows)
    arrays = (
        np.stack([number, number + 1], axis=1).astype(np.int32),
        (number[:, None] * 2).astype(np.float32),
        (number[:, None] % 2).astype(np.uint8),
    )
    for array in arrays:
        array.flags.writeable = False
    return Split(*arrays, users=None, probabilities=None)


def sizes(rows: int, size: int) -> list[int]:
    return [len(batch) for batch in batches(split_of(rows), size)]


@pytest.mark.parametrize(
    ("rows", "size", "expected"),
    [(6, 3, [3, 3]), (7, 3, [3, 4]), (8, 3, [3, 3, 2]), (1, 3, [1]), (0, 3, []), (2, 5, [2]), (3, 2, [3])],
)
def test_sizes(rows: int, size: int, expected: list[int]) -> None:
    assert sizes(rows, size) == expected


def test_in_order_without_a_generator() -> None:
    first, second = batches(split_of(5), 3)
    assert first.categorical.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert first.numeric.tolist() == [[0.0], [2.0], [4.0]]
    assert first.labels.tolist() == [[0.0], [1.0], [0.0]]
    assert second.categorical[:, 0].tolist() == [3, 4]
    assert [first.categorical.dtype, first.numeric.dtype, first.labels.dtype] == [
        torch.int32,
        torch.float32,
        torch.float32,
    ]


@given(st.integers(0, 300), st.integers(2, 40), st.integers(1, 400), st.integers(0, 2**32))
def test_shuffled_each_row_once_with_its_columns(rows: int, size: int, window: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    drawn = list(batches(split_of(rows), size, generator=generator, window_rows=window))
    numbers = np.concatenate([batch.categorical[:, 0].numpy() for batch in drawn]) if drawn else np.empty(0)
    assert sorted(numbers) == list(range(rows))
    for batch in drawn:
        number = batch.categorical[:, 0]
        assert torch.equal(batch.categorical[:, 1], number + 1)
        assert torch.equal(batch.numeric[:, 0], number * 2.0)
        assert torch.equal(batch.labels[:, 0], (number % 2).float())
    assert [len(batch) for batch in drawn] == sizes(rows, size)


@pytest.mark.parametrize("window", [1000, 100])
def test_the_generator_decides_the_order(window: int) -> None:
    def order(seed: int) -> list[int]:
        drawn = batches(split_of(500), 32, generator=np.random.default_rng(seed), window_rows=window)
        return [int(number) for batch in drawn for number in batch.categorical[:, 0]]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != sorted(order(1))


def test_windows_mix_far_apart_blocks() -> None:
    """The first window of a long split holds blocks of the whole split, not its first rows."""
    drawn = batches(split_of(20_000), 500, generator=np.random.default_rng(0), window_rows=2560)
    first = next(iter(drawn)).categorical[:, 0].numpy()
    assert first.min() < 2_000
    assert first.max() > 18_000
    assert len(np.unique(np.diff(first))) > 300  # not runs of neighbours


def test_tensors_are_writable_copies() -> None:
    split = split_of(4)
    batch = next(iter(batches(split, 4)))
    batch.numeric[0, 0] = 9.0
    assert split.numeric[0, 0] == 0.0


def test_device_is_used() -> None:
    batch = next(iter(batches(split_of(4), 4, device=torch.device("meta"))))
    assert {batch.categorical.device.type, batch.numeric.device.type, batch.labels.device.type} == {"meta"}


@pytest.mark.parametrize(("size", "window"), [(1, 10), (0, 10), (2, 0)])
def test_impossible_sizes(size: int, window: int) -> None:
    with pytest.raises(ValueError, match="expected at least 2 and 1"):
        next(iter(batches(split_of(4), size, window_rows=window)))


def test_missing_labels_are_zero_and_marked() -> None:
    split = replace(split_of(3), labels=np.array([[1], [MISSING_LABEL], [0]], np.uint8), unlabelled=True)
    (batch,) = batches(split, 3)
    assert batch.labels.tolist() == [[1.0], [0.0], [0.0]]
    assert batch.labelled is not None
    assert batch.labelled.tolist() == [[True], [False], [True]]
    (whole,) = batches(split_of(3), 3)
    assert whole.labelled is None


@pytest.mark.parametrize(("label", "unlabelled"), [(2, False), (2, True), (MISSING_LABEL, False)])
def test_a_label_that_is_neither_0_nor_1_cannot_train(label: int, unlabelled: bool) -> None:
    split = replace(split_of(3), labels=np.array([[0], [1], [label]], np.uint8), unlabelled=unlabelled)
    with pytest.raises(UserError, match=f"got the label {label}, expected 0 or 1: the store is damaged, prepare"):
        list(batches(split, 3))
