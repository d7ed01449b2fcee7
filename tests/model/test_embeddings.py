"""Stacked embedding tables."""

from __future__ import annotations

import torch

from pfmsmtrec_flwr.model.embeddings import FieldEmbeddings


def tables() -> FieldEmbeddings:
    """Two fields of 3 and 2 rows, in columns 2 and 0 of the input; row r of the stack is (r, 10 r)."""
    layer = FieldEmbeddings([3, 2], [2, 0], 2, federated=True)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(5.0)[:, None] * torch.tensor([1.0, 10.0]))
    return layer


CATEGORICAL = torch.tensor([[1, 9, 2], [0, 9, 0]], dtype=torch.int32)


def test_each_field_has_rows_of_its_own() -> None:
    rows = tables().rows_of(CATEGORICAL)
    assert rows.tolist() == [[2, 4], [0, 3]]
    assert rows.dtype == torch.int32


def test_embeddings_lie_side_by_side() -> None:
    assert tables()(CATEGORICAL).tolist() == [[2.0, 20.0, 4.0, 40.0], [0.0, 0.0, 3.0, 30.0]]


def test_only_the_table_is_saved() -> None:
    assert list(tables().state_dict()) == ["weight"]


def test_reserved_rows_start_at_zero_and_others_small() -> None:
    layer = FieldEmbeddings([100, 50], [0, 1], 16, federated=False)
    layer.initialise(lambda _: torch.Generator().manual_seed(0))
    assert not layer.weight[[0, 100]].any()
    others = torch.cat([layer.weight[1:100], layer.weight[101:]])
    assert 0.045 < float(others.detach().std()) < 0.055
    assert (others != 0).any(dim=1).all()


def pooled() -> FieldEmbeddings:
    """A plain field of 2 rows, then one of 4 rows with up to 3 values, in columns 3 and 0 to 2 of the input."""
    layer = FieldEmbeddings([2, 4], [3, 0], 2, federated=True, most=[1, 3])
    with torch.no_grad():
        layer.weight.copy_(torch.arange(6.0)[:, None] * torch.tensor([1.0, 10.0]))
    return layer


SEVERAL = torch.tensor([[1, 3, 0, 1], [2, 0, 0, 0], [0, 0, 0, 1], [0, 2, 2, 0]], dtype=torch.int32)


def test_several_values_are_averaged_without_padding() -> None:
    assert pooled()(SEVERAL).tolist() == [
        [1.0, 10.0, 4.0, 40.0],
        [0.0, 0.0, 4.0, 40.0],
        [1.0, 10.0, 0.0, 0.0],
        [0.0, 0.0, 4.0, 40.0],
    ]


def test_padding_uses_no_row_and_has_no_gradient() -> None:
    layer = pooled()
    counts = torch.bincount(layer.used_rows(SEVERAL), minlength=6)
    assert counts.tolist() == [2, 2, 0, 1, 3, 1]  # row 0 of a plain field is used: it stands for unseen values
    layer(SEVERAL).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad[:, 0].tolist() == [2.0, 2.0, 0.0, 0.5, 2.0, 0.5]


def test_all_uses_of_plain_fields_count() -> None:
    assert torch.equal(tables().used_rows(CATEGORICAL), tables().rows_of(CATEGORICAL).flatten().long())
