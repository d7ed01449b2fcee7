"""Rows in a device's memory come in the batches, and in the order, of rows in main memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfmsmtrec_flwr.data import batches as module
from pfmsmtrec_flwr.data.batches import batches, split_bytes
from pfmsmtrec_flwr.data.device_rows import DeviceRows
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.errors import UserError

CPU = torch.device("cpu")


def split_of(rows: int, *, unlabelled: bool = False) -> Split:
    generator = np.random.default_rng(rows)
    labels = generator.integers(0, 2, (rows, 2)).astype(np.uint8)
    if unlabelled:
        labels[generator.random((rows, 2)) < 0.3] = MISSING_LABEL
    return Split(
        generator.integers(0, 99, (rows, 3)).astype(np.int32),
        generator.normal(size=(rows, 2)).astype(np.float32),
        labels,
        users=None,
        probabilities=None,
        unlabelled=unlabelled,
    )


@given(st.integers(0, 300), st.integers(2, 40), st.booleans(), st.booleans(), st.integers(0, 2**32))
def test_batches_are_the_same_to_the_bit(rows: int, size: int, unlabelled: bool, windows: bool, seed: int) -> None:
    split = split_of(rows, unlabelled=unlabelled)
    with pytest.MonkeyPatch.context() as patch:
        if windows:  # of 50 rows
            patch.setattr(module, "_WINDOW_BYTES", 50 * split_bytes(split_of(1)))
        held = DeviceRows.of(split, CPU).batches(size, np.random.default_rng(seed))
        drawn = batches(split, size, generator=np.random.default_rng(seed))
        for own, other in zip(held, drawn, strict=True):
            for name in ("categorical", "numeric", "labels"):
                one, two = getattr(own, name), getattr(other, name)
                assert one.dtype == two.dtype
                assert torch.equal(one, two)
            assert (own.labelled is not None) == unlabelled
            if own.labelled is not None and other.labelled is not None:
                assert torch.equal(own.labelled, other.labelled)
            else:
                assert own.labelled is other.labelled is None


@pytest.mark.parametrize(("label", "unlabelled"), [(2, False), (MISSING_LABEL, False), (2, True)])
def test_a_damaged_label_is_refused(label: int, unlabelled: bool) -> None:
    split = split_of(9, unlabelled=unlabelled)
    labels = split.labels.copy()
    labels[3, 1] = label
    with pytest.raises(UserError, match="the store is damaged"):
        DeviceRows.of(replace(split, labels=labels), CPU)
