from __future__ import annotations

import torch
from federated import Tiny, same
from replies import NODES, TABLE, close, described, unpack_replies

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.protocol import TRAIN, Stage
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.methods.mat_fl import METHOD, MaTFL
from pfmsmtrec_flwr.model import Part

BODY = {Part.EXPERT, Part.GATE, Part.NORMALIZATION}
TASKS = {"A": ("click", "like"), "B": ("click", "like"), "C": ("click",)}


def configured(tiny: Tiny, threshold: float) -> RunConfig:
    return METHOD.configure(tiny.config("mat-fl", mat_fl__threshold=threshold))


def test_the_body_travels_and_the_towers_do_not(tiny: Tiny) -> None:
    run = tiny.trained(configured(tiny, 0.0))
    slots = run.strategy.parameters.slots["US"]
    replies = [message for message in run.grid.replies if message.metadata.message_type == TRAIN]
    sent = {name for reply in replies for each in unpack_replies(reply.content).values() for name in each.parameters}
    assert {slots[name].part for name in sent} == BODY
    assert {slots[name].part for name in run.strategy.parameters.common} == {Part.FEDERATED_EMBEDDING}


def test_a_round_in_numbers(tiny: Tiny) -> None:
    """A and B move up, C moves down by as much as both: cosines of the deviations are ±1."""
    strategy = MaTFL(configured(tiny, 0.5))
    strategy.begin(Federation({name: described(name, *tasks) for name, tasks in TASKS.items()}, NODES))
    steps = {"A": 0.2, "B": 0.1, "C": -0.9}
    ends = {}
    for scenario, step in steps.items():
        start = strategy.parameters.personal[scenario]
        # Statistics move too, but counters, which differ, count for nothing.
        ends[scenario] = {
            name: tensor + (step if tensor.is_floating_point() else 1 + int(10 * step))
            for name, tensor in start.items()
        }
    rows = torch.tensor([1])
    table = strategy.parameters.common[TABLE].clone()
    updates = [
        ScenarioUpdate(
            scenario,
            10,
            {},
            end,
            {TABLE: RowUpdate(rows, table[rows] + steps[scenario], torch.tensor([1]))},
            strategy.parameters.slots[scenario],
        )
        for scenario, end in ends.items()
    ]
    strategy.aggregate(Stage.ALL, updates)
    held = strategy.parameters.personal
    for name, own in ends["A"].items():
        if own.is_floating_point():
            for scenario in "AB":
                close(held[scenario][name], (own + ends["B"][name]) / 2)
        else:
            assert all(torch.equal(held[scenario][name], ends[scenario][name]) for scenario in "AB")
    assert held["C"].keys() == ends["C"].keys() < ends["A"].keys()
    assert all(torch.equal(held["C"][name], value) for name, value in ends["C"].items())
    close(strategy.parameters.common[TABLE][1], table[1] - 0.2)


def test_two_scenarios_have_no_group(tiny: Tiny) -> None:
    """Two deviations from a mean are opposed: with local tables, each scenario trains alone."""
    settings = {"federation__tables": "local"}
    alone = tiny.trained(tiny.config("alone", **settings))
    grouped = tiny.trained(METHOD.configure(tiny.config("mat-fl", mat_fl__threshold=0.5, **settings)))
    for scenario, model in alone.models.items():
        assert all(torch.allclose(model[name], grouped.models[scenario][name], atol=1e-6) for name in model)


def test_groups_form_anew_in_training(tiny: Tiny) -> None:
    settings: dict[str, list[str]] = {"federation__scenarios": []}
    runs = [tiny.trained(tiny.config("mat-fl", mat_fl__threshold=each, **settings)) for each in (0.0, 1.0)]
    assert len(runs[0].models) == 4
    assert not same(runs[0].models, runs[1].models)
