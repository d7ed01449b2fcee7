"""Inner products and cosines, against those of single vectors."""

from __future__ import annotations

import pytest
import torch

from pfmsmtrec_flwr.aggregation import cosines as module
from pfmsmtrec_flwr.aggregation.cosines import cosines_of, gram_matrices, paired_cosines


def test_they_are_those_of_each_pair_of_vectors() -> None:
    updates = torch.randn(4, 3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gram = gram_matrices(updates)
    cosines = cosines_of(gram)
    for expert in range(3):
        for one in range(4):
            for other in range(4):
                pair = updates[one, expert], updates[other, expert]
                torch.testing.assert_close(gram[expert, one, other], torch.dot(*pair))
                torch.testing.assert_close(cosines[expert, one, other], torch.cosine_similarity(*pair, dim=0))


def test_a_cosine_with_an_update_of_zero_is_zero() -> None:
    cosines = cosines_of(gram_matrices(torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]]])))
    assert torch.equal(cosines, torch.tensor([[[0.0, 0.0], [0.0, 1.0]]], dtype=torch.float64))


def test_tiny_updates_in_single_precision_keep_their_cosines() -> None:
    updates = torch.tensor([[[1.0, 1.0]], [[1.0, -1.0]], [[2.0, 2.0]]]) * 1e-30
    expected = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]], dtype=torch.float64)
    torch.testing.assert_close(cosines_of(gram_matrices(updates)), expected)


@pytest.mark.parametrize("parameters", [1, 7, 64, 1000])
def test_pairs_in_pieces_have_the_same_cosines_to_the_bit(monkeypatch: pytest.MonkeyPatch, parameters: int) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(17, 4, parameters, generator=generator) for _ in range(2))
    whole = paired_cosines(first, second), paired_cosines(first, second[0])
    monkeypatch.setattr(module, "AT_ONCE", 5 * first[0].numel())
    assert torch.equal(paired_cosines(first, second), whole[0])
    assert torch.equal(paired_cosines(first, second[0]), whole[1])
    torch.testing.assert_close(whole[0], torch.cosine_similarity(first.double(), second.double(), dim=-1))
