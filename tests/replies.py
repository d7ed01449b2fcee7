"""Replies of three scenarios on two nodes, made by hand: what tests of strategies share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.handshake import Federation
from pfmsmtrec_flwr.federation.protocol import Reply, pack_replies, unpack_orders, unpack_tensors
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods import federated_method
from pfmsmtrec_flwr.model import Part
from pfmsmtrec_flwr.training.description import Description

NODES = {"A": 11, "B": 12, "C": 11}
EXAMPLES = {"A": 30, "B": 10, "C": 60}
POSITIVES = {"A": 10, "B": 1, "C": 6}
STEPS = {"A": 0.1, "B": 0.2, "C": 0.3}
TABLE = "federated_embeddings.weight"


def unpack_replies(content: RecordDict) -> dict[str, Reply]:
    """Read a content that `pack_replies` made, by scenario, without any check."""
    replies = {}
    for key, record in content.config_records.items():
        scenario, _, kind = key.partition("/")
        if kind != "reply":
            continue
        document = json.loads(str(record["reply"]))
        rows = {
            name.removeprefix(f"{scenario}/rows/"): RowUpdate(
                tensors["rows"].long(), tensors["values"], tensors["counts"].long()
            )
            for name, arrays in content.array_records.items()
            if name.startswith(f"{scenario}/rows/") and (tensors := unpack_tensors(arrays))
        }
        parameters = unpack_tensors(content.array_records.get(f"{scenario}/parameters"))
        drawn = content.config_records.get(f"{scenario}/draws", ConfigRecord())
        draws = {task: np.array(auc, dtype=np.float32) for task, auc in drawn.items()}
        lacks = bool(record["lacks_tables"])
        replies[scenario] = Reply(document["figures"], parameters, rows, document["error"], lacks, draws)
    return replies


def described(name: str, *tasks: str) -> Description:
    return Description(
        scenario=name,
        dataset="tiny",
        schema_hash="x",
        tasks=list(tasks) or ["click"],
        numeric=2,
        fields=["item", "person"],
        rows=[5, 1],
        federated=[True, False],
        most=[2, 1],  # a row of the table may be used twice by a training row
        examples={"train": EXAMPLES[name], "validation": 1, "test": 1},
        train_positives=[1] * (len(tasks) or 1),
        used_rows=EXAMPLES[name],
        used_positives=[POSITIVES[name]] * (len(tasks) or 1),
    )


def strategy_of(config: RunConfig) -> ScenarioStrategy:
    strategy = federated_method(config.method).strategy(config)
    strategy.begin(Federation({name: described(name) for name in NODES}, NODES))
    return strategy


def ask(strategy: ScenarioStrategy, number: int = 1) -> list[Message]:
    return list(strategy.configure_train(number, ArrayRecord(), ConfigRecord(), None))  # type: ignore[arg-type]


def moved(
    strategy: ScenarioStrategy, message: Message, steps: Mapping[str, float] = STEPS, **changes: Mapping[str, Any]
) -> Message:
    """Answer a message: every parameter of a scenario has gone up by its step, by a tenth of (i + 1) of scenario i."""
    order, incoming, scenarios = unpack_orders(message.content)
    replies = {}
    for name in scenarios:
        step = steps[name]
        sent = incoming.common | incoming.personal[name]
        slots = strategy.parameters.slots[name]
        wanted = [key for key in names_of(slots, order.parts) if key != TABLE]
        rows = {}
        if Part.FEDERATED_EMBEDDING in order.parts:
            table = strategy.parameters.of(name)[TABLE]  # the message may bring its changed rows only
            touched = torch.tensor([1, 1 + "ABC".index(name) + 1])
            rows[TABLE] = RowUpdate(touched, table[touched] + step, torch.tensor([EXAMPLES[name], 2]))
        values = {key: sent[key] + step if sent[key].is_floating_point() else sent[key] + 7 for key in wanted}
        figures = {"examples": EXAMPLES[name], "loss.click": 0.5}
        if order.evaluate:
            experts = strategy.parameters.experts[name]
            figures |= {"validation.auc.click": 0.5, "validation.logloss.click": 0.5}
            figures |= {f"gate.click.{expert}": 1 / experts for expert in range(experts)}
        reply = Reply(figures, values, rows)
        replies[name] = replace(reply, **changes.get(name, {}))
    return Message(pack_replies(order, replies), reply_to=message)


def aggregate(strategy: ScenarioStrategy, *, turned: bool = False, **changes: Any) -> None:
    replies = [moved(strategy, message, **changes) for message in ask(strategy)]
    strategy.aggregate_train(1, replies[::-1] if turned else replies)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


# The mean step, weighted by rows: 0.3 * 0.1 + 0.1 * 0.2 + 0.6 * 0.3
MEAN_STEP = 0.23
