"""The attention that is kept for the round's record."""

from __future__ import annotations

import torch

from pfmsmtrec_flwr.methods.tower_attention import PAIRWISE_SCENARIOS, TowerAttention


def test_it_is_the_mean_over_the_layers_of_each_task() -> None:
    attention = TowerAttention()
    attention.keep(("like", 0), ["FR", "US"], torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    attention.keep(("like", 1), ["FR", "US"], torch.tensor([[1.0, 0.0], [0.75, 0.25]]))
    attention.keep(("click", 0), ["FR", "NL", "US"], torch.eye(3))
    kept = attention.by_task()
    assert list(kept) == ["click", "like"]
    assert kept["like"].scenarios == ("FR", "US")
    assert kept["like"].weights == [[0.75, 0.25], [0.5, 0.5]]
    assert kept["click"].weights == torch.eye(3).tolist()


def test_a_later_round_replaces_an_earlier_one() -> None:
    attention = TowerAttention()
    attention.keep(("like", 0), ["FR", "US"], torch.eye(2))
    attention.keep(("like", 0), ["FR", "NL"], torch.tensor([[0.5, 0.5], [0.5, 0.5]]))
    assert attention.by_task()["like"].scenarios == ("FR", "NL")
    assert attention.by_task()["like"].weights == [[0.5, 0.5], [0.5, 0.5]]


def test_pairs_of_many_scenarios_are_left_out() -> None:
    attention = TowerAttention()
    many = [f"tab{place}" for place in range(PAIRWISE_SCENARIOS + 1)]
    attention.keep(("like", 0), many, torch.eye(len(many)))
    attention.keep(("click", 0), many[:-1], torch.eye(len(many) - 1))
    assert list(attention.by_task()) == ["click"]
    assert list(attention.state_dict()["layers"]) == [("click", 0)]  # nor are they kept
    attention.keep(("click", 0), many, torch.eye(len(many)))
    assert attention.by_task() == {}
    assert TowerAttention().by_task() == {}
