from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from federated import Tiny, same

from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client import trainer
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods.fedrep import METHOD, FedRepClient
from pfmsmtrec_flwr.model import HEAD_PARTS
from pfmsmtrec_flwr.training.local import LocalStep, TrainReport, train_locally


@dataclass(frozen=True)
class Phase:
    """One training within an exchange."""

    seed: int
    steps: int
    changed: set[str]


@dataclass(frozen=True)
class Round:
    """What one exchange came to."""

    phases: list[Phase]
    reply: Reply
    client: FedRepClient


def trained(tiny: Tiny, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Round:
    phases: list[Phase] = []

    def watch(step: LocalStep, *arguments: Any, seed: int, **more: Any) -> TrainReport:
        before = {name: value.clone() for name, value in step.model.named_parameters()}
        report = train_locally(step, *arguments, seed=seed, **more)
        changed = {name for name, value in step.model.named_parameters() if not torch.equal(value, before[name])}
        phases.append(Phase(seed, report.steps, changed))
        return report

    monkeypatch.setattr(trainer, "train_locally", watch)
    config = tiny.config("fedrep", **settings)
    client = FedRepClient(ScenarioStore.open(tiny.root / "tiny" / "US"), config, LocalState(folder / "US"))
    parts = tuple(sorted(METHOD.strategy.sharing_of(config).parts))
    reply = client.train(Order(config.model_dump_json(), "fedrep", 1, 1, parts=parts), Incoming({}, {}))
    return Round(phases, reply, client)


def test_the_head_is_fitted_first_then_the_body(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = trained(tiny, tmp_path, monkeypatch, fedrep__head_epochs=2.0, train__local_epochs=1.0)
    learned = {name for name, _ in done.client.model.named_parameters()}
    heads = set(names_of(done.client.slots, HEAD_PARTS)) & learned
    first, second = done.phases
    assert first.changed <= heads
    assert "towers.of_task.click.0.weight" in first.changed
    assert second.changed <= learned - heads
    assert {"local_embeddings.weight", "federated_embeddings.weight", "gates.of_task.click.weight"} <= second.changed
    assert first.seed != second.seed
    assert (first.steps, second.steps) == (6, 3)
    assert all(parameter.requires_grad for parameter in done.client.model.parameters())


def test_what_is_sent_and_told_is_the_bodys(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = trained(tiny, tmp_path, monkeypatch, fedrep__head_epochs=2.0)
    assert done.reply.figures["examples"] == 48
    assert int(done.reply.rows["federated_embeddings.weight"].counts.sum()) == 48 * 2
    assert not set(done.reply.parameters) & set(names_of(done.client.slots, HEAD_PARTS))


def test_without_head_epochs_the_head_stays(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = trained(tiny, tmp_path, monkeypatch, fedrep__head_epochs=0.0)
    assert len(done.phases) == 1
    assert not done.phases[0].changed & set(names_of(done.client.slots, HEAD_PARTS))


def test_a_head_phase_is_bounded_as_the_bodys_is(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = trained(tiny, tmp_path, monkeypatch, fedrep__head_epochs=9.0, train__max_local_steps=2)
    assert [phase.steps for phase in done.phases] == [2, 2]


def test_the_moments_of_both_are_kept_apart(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"train__optimizer_state": "keep", "fedrep__head_epochs": 2.0}
    kept = trained(tiny, tmp_path, monkeypatch, **settings).client.state.load(1)
    body, head = kept.optimizer, kept.scope("head").optimizer
    assert head["towers.of_task.click.0.weight"]["step"].item() == 6
    assert body["gates.of_task.click.weight"]["step"].item() == 3
    assert "towers.of_task.click.0.weight" not in body
    assert "gates.of_task.click.weight" not in head


def test_it_is_neither_fedper_nor_the_other_optimizer_state(tiny: Tiny) -> None:
    both = tiny.trained(tiny.config("fedrep"))
    assert not same(both.models, tiny.trained(tiny.config("fedper")).models)
    assert not same(both.models, tiny.trained(tiny.config("fedrep", train__optimizer_state="keep")).models)
