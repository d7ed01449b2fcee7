"""Softmax gates."""

from __future__ import annotations

import torch

from pfmsmtrec_flwr.model.gates import Gates


def test_each_task_has_its_own_shares() -> None:
    gates = Gates(["click", "buy"], 3, 4)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    shares = gates(x)
    assert shares.shape == (5, 2, 3)
    for index, task in enumerate(["click", "buy"]):
        weight = gates.get_parameter(f"of_task.{task}.weight")
        torch.testing.assert_close(shares[:, index], (x @ weight.T).softmax(dim=1))


def test_shares_sum_to_one() -> None:
    shares = Gates(["a"], 4, 2)(torch.randn(6, 2, generator=torch.Generator().manual_seed(1)) * 50)
    torch.testing.assert_close(shares.sum(dim=2), torch.ones(6, 1))
