"""Task towers."""

from __future__ import annotations

import torch
from torch import nn

from pfmsmtrec_flwr.model.dropout import Dropout
from pfmsmtrec_flwr.model.towers import OutputLayer, Tower, Towers


def test_layers_in_order() -> None:
    kinds = [type(module) for module in Tower(4, [3, 2], 0.1)]
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU, Dropout]
    assert kinds == [*hidden, *hidden, OutputLayer]


def test_without_hidden_layers_it_is_linear() -> None:
    towers = Towers(["a"], 4, [], 0.1)
    x = torch.randn(3, 1, 4, generator=torch.Generator().manual_seed(0))
    expected = x[:, 0] @ towers.get_parameter("of_task.a.0.weight").T + towers.get_parameter("of_task.a.0.bias")
    torch.testing.assert_close(towers(x), expected)


def test_each_task_sees_its_own_mixture() -> None:
    towers = Towers(["a", "b"], 4, [3], 0.0).eval()
    x = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(1))
    logits = towers(x)
    assert logits.shape == (6, 2)
    for index, task in enumerate("ab"):
        torch.testing.assert_close(logits[:, index : index + 1], towers.of_task[task](x[:, index]))
