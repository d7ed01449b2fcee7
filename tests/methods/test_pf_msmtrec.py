"""What travels under the settings of PF-MSMTrec; its steps in numbers are tested in test_pf_msmtrec_rounds.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from federated import Tiny, Trained
from replies import unpack_replies
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import average_rows, use_weights
from pfmsmtrec_flwr.federation.protocol import TRAIN, Reply, Stage, unpack_orders
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.model import HEAD_PARTS, TOWER_PARTS, Part

TABLES = Part.FEDERATED_EMBEDDING
TABLE = "federated_embeddings.weight"
EXPERTS = {Part.EXPERT}
NORMALIZATION = {Part.NORMALIZATION, Part.TOWER_NORMALIZATION}


def answers(run: Trained) -> list[tuple[Stage, dict[str, dict[str, Tensor]]]]:
    """Return the stage of each training message, and the parameters that came back by scenario."""
    asked = [unpack_orders(message.content)[0] for message in run.grid.sent if message.metadata.message_type == TRAIN]
    replies = [message for message in run.grid.replies if message.metadata.message_type == TRAIN]
    return [
        (order.stage, {name: each.parameters for name, each in unpack_replies(reply.content).items()})
        for order, reply in zip(asked, replies, strict=True)
    ]


def travelling(run: Trained, stage: Stage = Stage.ALL) -> set[Part]:
    """Return the parts that came back from the scenarios at a stage, tables aside."""
    slots = run.strategy.parameters.slots["US"]
    return {
        slots[name].part
        for found, scenarios in answers(run)
        for parameters in scenarios.values()
        for name in parameters
        if found is stage
    }


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({}, EXPERTS | {Part.TOWER}),
        ({"pf_msmtrec__output_bias": "federated"}, EXPERTS | TOWER_PARTS),
        ({"pf_msmtrec__normalization": "federated"}, EXPERTS | {Part.TOWER} | NORMALIZATION),
        ({"pf_msmtrec__towers": "local"}, EXPERTS),
        ({"pf_msmtrec__towers": "local", "pf_msmtrec__output_bias": "federated"}, EXPERTS),
        ({"pf_msmtrec__template": "none"}, EXPERTS | {Part.TOWER}),
        ({"pf_msmtrec__task_layers": "all"}, EXPERTS | {Part.TOWER}),
    ],
)
def test_what_the_settings_share_travels_and_nothing_else(
    tiny: Tiny, settings: dict[str, Any], parts: set[Part]
) -> None:
    run = tiny.trained(tiny.config(**settings))
    assert travelling(run) == parts
    held = run.strategy.parameters
    slots = run.strategy.parameters.slots["US"]
    assert {slots[name].part for name in (*held.common, *held.personal["US"])} == parts | {TABLES}


@pytest.mark.parametrize(
    ("settings", "common", "personal"),
    [
        ({}, False, True),
        ({"pf_msmtrec__consensus": "examples"}, True, False),
        ({"pf_msmtrec__personalized_tables": False}, True, False),
        ({"federation__tables": "plain"}, True, False),
        ({"federation__tables": "local"}, False, False),
    ],
)
def test_tables_are_each_scenarios_own_common_or_at_home(
    tiny: Tiny, settings: dict[str, Any], common: bool, personal: bool
) -> None:
    run = tiny.trained(tiny.config(**settings))
    for message in (each for each in run.grid.sent if each.metadata.message_type == TRAIN):
        _, incoming, names = unpack_orders(message.content)
        assert (TABLE in incoming.common | incoming.common_changes) == common
        own = [incoming.personal[name] | incoming.personal_changes[name] for name in names]
        assert {TABLE in tensors for tensors in own} == {personal}
    for message in (each for each in run.grid.replies if each.metadata.message_type == TRAIN):
        for reply in unpack_replies(message.content).values():
            assert list(reply.rows) == [TABLE] * (common or personal)


@pytest.mark.parametrize("settings", [{"consensus": "examples"}, {"personalized_tables": False}])
@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_uses_of_rows_count_as_the_balance_says(tiny: Tiny, settings: dict[str, Any], balance: float) -> None:
    own = {f"pf_msmtrec__{key}": value for key, value in settings.items()}
    run = tiny.trained(tiny.config(pf_msmtrec__row_balance=balance, federation__rounds=1, **own))
    replies: dict[str, Reply] = {}
    for message in (each for each in run.grid.replies if each.metadata.message_type == TRAIN):
        replies |= unpack_replies(message.content)
    rows = [replies[name].rows[TABLE] for name in sorted(replies)]
    assert len({int(update.counts.sum()) for update in rows}) == len(rows) > 1
    for message in (each for each in run.grid.sent if each.metadata.message_type == TRAIN):
        _, incoming, _ = unpack_orders(message.content)
        averaged = average_rows(incoming.common[TABLE], rows, use_weights(rows, balance))
        assert torch.equal(run.strategy.parameters.common[TABLE], averaged)


@pytest.mark.parametrize(
    ("settings", "experts", "towers"),
    [
        ({}, EXPERTS, {Part.TOWER}),
        ({"pf_msmtrec__output_bias": "federated"}, EXPERTS, TOWER_PARTS),
        (
            {"pf_msmtrec__normalization": "federated"},
            EXPERTS | {Part.NORMALIZATION},
            {Part.TOWER, Part.TOWER_NORMALIZATION},
        ),
        ({"pf_msmtrec__towers": "local"}, EXPERTS, set()),
    ],
)
def test_bottom_up_the_head_travels_in_the_second_exchange(
    tiny: Tiny, settings: dict[str, Any], experts: set[Part], towers: set[Part]
) -> None:
    run = tiny.trained(tiny.config(pf_msmtrec__schedule="bottom-up", **settings))
    assert travelling(run, Stage.EXPERTS) == experts
    assert travelling(run, Stage.TOWERS) == towers
    assert travelling(run) == set()


@pytest.mark.parametrize("schedule", ["fused", "bottom-up"])
def test_federated_normalization_is_the_mean_weighted_by_rows(tiny: Tiny, schedule: str) -> None:
    settings = {"pf_msmtrec__schedule": schedule, "federation__rounds": 1, "train__max_local_steps": 2}
    run = tiny.trained(tiny.config(pf_msmtrec__normalization="federated", **settings))
    sent: dict[str, dict[str, Tensor]] = {"FR": {}, "US": {}}
    for _, scenarios in answers(run):
        for name, parameters in scenarios.items():
            sent[name] |= parameters
    slots = run.strategy.parameters.slots["US"]
    names = [name for name in names_of(slots, NORMALIZATION) if not name.endswith("num_batches_tracked")]
    assert {slots[name].part for name in names} == NORMALIZATION
    for name in names:
        mean = (sent["FR"][name] + sent["US"][name]) / 2  # both saw 32 rows
        torch.testing.assert_close(run.strategy.parameters.common[name], mean, rtol=1e-6, atol=1e-6)
        assert not torch.equal(sent["FR"][name], sent["US"][name])


@pytest.mark.parametrize("output_bias", ["local", "federated"])
def test_an_output_bias_that_is_local_stays_where_its_scenario_has_it(
    tiny: Tiny, tmp_path: Path, output_bias: str
) -> None:
    """Under an endless weight of the regularizer all towers end alike; what does not travel is left out of that."""
    settings = {"pf_msmtrec__regularization": 1e9, "pf_msmtrec__output_bias": output_bias}
    run = tiny.train(tiny.config(pf_msmtrec__consensus="examples", **settings), tmp_path / "a")
    slots = run.strategy.parameters.slots["US"]
    alike = {
        slots[name].part
        for name in names_of(slots, HEAD_PARTS - {Part.TOWER_NORMALIZATION})
        if torch.equal(run.models["FR"][name], run.models["US"][name])
    }
    assert alike == (TOWER_PARTS if output_bias == "federated" else {Part.TOWER})
