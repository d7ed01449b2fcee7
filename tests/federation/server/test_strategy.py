from __future__ import annotations

import pytest
import torch
from federated import Tiny
from flwr.app import ConfigRecord
from replies import MEAN_STEP, TABLE, aggregate, ask, close, strategy_of

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.protocol import unpack_orders
from pfmsmtrec_flwr.methods import federated_method
from pfmsmtrec_flwr.model import Part

pytestmark = pytest.mark.usefixtures("flower_run")


@pytest.mark.parametrize("method", ["fedavg-rows", "fedbn"])
def test_fedavg_is_the_mean_weighted_by_rows(tiny: Tiny, method: str) -> None:
    strategy = strategy_of(tiny.config(method))
    start = {name: tensor.clone() for name, tensor in strategy.parameters.common.items()}
    parts = {strategy.parameters.slots["A"][name].part for name in start}
    assert Part.LOCAL_EMBEDDING not in parts
    assert (Part.NORMALIZATION in parts) == (method == "fedavg-rows")
    assert parts >= {Part.EXPERT, Part.GATE, Part.TOWER}
    aggregate(strategy)
    for name, tensor in strategy.parameters.common.items():
        if tensor.is_floating_point() and name != TABLE:
            close(tensor, start[name] + MEAN_STEP)
        elif name != TABLE:
            assert tensor.item() == start[name].item() + 7
    table, before = strategy.parameters.common[TABLE], start[TABLE]
    close(table[1], before[1] + MEAN_STEP)  # touched by all, as often as they have rows
    for row, step in ((2, 0.1), (3, 0.2), (4, 0.3)):  # touched by one
        close(table[row], before[row] + step)
    assert torch.equal(table[0], before[0])
    assert all(not tensors for tensors in strategy.parameters.personal.values())


def test_plain_averages_dilute_rows(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("fedavg", federation__tables="plain"))
    before = strategy.parameters.common[TABLE].clone()
    aggregate(strategy)
    table = strategy.parameters.common[TABLE]
    for row, step in ((0, 0), (1, MEAN_STEP), (2, 0.3 * 0.1), (3, 0.1 * 0.2), (4, 0.6 * 0.3)):
        close(table[row], before[row] + step)


def test_alone_sends_and_receives_no_parameter(tiny: Tiny) -> None:
    strategy = strategy_of(tiny.config("alone"))
    for message in ask(strategy):
        assert list(message.content.array_records) == []
        assert unpack_orders(message.content)[0].parts == ()
    aggregate(strategy)
    assert strategy.parameters.common == {}


@pytest.mark.parametrize("method", ["fedavg", "pf-msmtrec"])
def test_the_order_of_replies_changes_no_bit(tiny: Tiny, method: str) -> None:
    one, other = strategy_of(tiny.config(method)), strategy_of(tiny.config(method))
    for _ in range(2):
        aggregate(one)
        aggregate(other, turned=True)
    consensus = other.consensus()
    assert consensus
    assert all(torch.equal(tensor, consensus[name]) for name, tensor in one.consensus().items())


def test_what_flowers_interface_offers_and_is_not_used_is_refused(tiny: Tiny) -> None:
    strategy = federated_method("alone").strategy(tiny.config("alone"))
    with pytest.raises(UserError, match="change the run's configuration"):
        strategy.start(None, train_config=ConfigRecord({"lr": 0.1}))  # type: ignore[arg-type]
