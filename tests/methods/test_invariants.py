"""What must hold of whole trainings over the in-process grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from federated import FEDAVG, Tiny, same
from replies import unpack_replies
from torch import Tensor

from pfmsmtrec_flwr.aggregation.conflict import Coordination
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import TRAIN, Stage, payload_bytes
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.methods.pf_msmtrec import PFMSMTRec
from pfmsmtrec_flwr.model import Part

NOTHING_SHARED = {
    "pf_msmtrec__expert_weight": 0.0,
    "pf_msmtrec__tower_weight": 0.0,
    "pf_msmtrec__template": "none",
    "federation__tables": "local",
    "pf_msmtrec__normalization": "local",
    "pf_msmtrec__regularization": 0.0,
}
NODES = {"pf-msmtrec": ((1, False), (2, True), (4, True), (7, False))}
BASELINES = (
    "fedavg",
    "fedprox",
    "fedbn",
    "fedper",
    "fedrep",
    "ditto",
    "mr-mtl",
    "apfl",
    "fedala",
    "fedamp",
    "mat-fl",
    "fedhca2",
)
PLAIN: dict[str, Any] = {"pf_msmtrec__template": "none"}
ONE_FOR_ALL: dict[str, Any] = {"pf_msmtrec__consensus": "examples", "pf_msmtrec__personalized_tables": False}
REGULARIZED: dict[str, Any] = {"pf_msmtrec__regularization": 2.0}
FREE: dict[str, Any] = {"fedprox__mu": 0.0, "ditto__lam": 0.0, "mr_mtl__lam": 0.0, "fedamp__lam_over_alpha": 0.0}
ONE: dict[str, Any] = {"federation__scenarios": ["US"]}
ALL: dict[str, Any] = {"federation__scenarios": []}


@pytest.mark.parametrize("towers", ["attended", "local"])
@pytest.mark.parametrize("output_bias", ["local", "federated"])
@pytest.mark.parametrize(
    "settings",
    [
        {"train__optimizer_state": "keep"},
        {"train__optimizer_state": "reset"},
        {"train__ema_decay": 0.6, "federation__rounds": 3},
        {"data__train_fraction": 0.5},
    ],
)
def test_nothing_shared_is_training_alone(tiny: Tiny, settings: dict[str, Any], output_bias: str, towers: str) -> None:
    alone = tiny.trained(tiny.config("alone", **settings))
    nothing = NOTHING_SHARED | {"pf_msmtrec__output_bias": output_bias, "pf_msmtrec__towers": towers}
    shared = tiny.trained(tiny.config(**settings, **nothing))
    assert same(alone.models, shared.models)
    assert [record.validation for record in alone.result.rounds] == [r.validation for r in shared.result.rounds]
    assert alone.result.test == shared.result.test


@pytest.mark.parametrize(
    "only",
    [
        {"pf_msmtrec__expert_weight": 0.5},
        {"pf_msmtrec__tower_weight": 0.5},
        {"pf_msmtrec__regularization": 0.1, "pf_msmtrec__consensus": "examples"},
        {"pf_msmtrec__template": "additive"},
        {"pf_msmtrec__normalization": "federated"},
    ],
)
def test_any_sharing_is_not_training_alone(tiny: Tiny, only: dict[str, Any]) -> None:
    alone = tiny.trained(tiny.config("alone"))
    shared = tiny.trained(tiny.config(**NOTHING_SHARED | only))
    assert not same(alone.models, shared.models)


@pytest.mark.parametrize(
    ("method", "own"),
    [
        *(("pf-msmtrec", PLAIN | other | drawn) for other in ({}, ONE_FOR_ALL) for drawn in ({}, REGULARIZED)),
        ("fedavg", FEDAVG),
        ("fedbn", {}),
        ("fedper", {}),
        ("mat-fl", {}),
        ("fedhca2", {}),
        ("fedprox", FREE),
        ("ditto", FREE),
        ("mr-mtl", FREE),
        ("fedala", {}),
        ("fedamp", FREE),
        ("apfl", {"apfl__alpha": 1.0, "apfl__alpha_lr": 0.0}),
    ],
)
@pytest.mark.parametrize(
    "settings",
    [{}, {"train__ema_decay": 0.6, "data__train_fraction": 0.5}],
    ids=["plain", "averaged"],
)
def test_a_single_scenario_trains_alone(
    tiny: Tiny, method: str, own: dict[str, Any], settings: dict[str, float]
) -> None:
    alone, single = (tiny.trained(tiny.config(each, **settings, **own, **ONE)) for each in ("alone", method))
    assert list(single.models) == ["US"]
    assert same(alone.models, single.models)
    assert alone.result.test == single.result.test


@pytest.mark.parametrize("kept", ["local", "federated"])
def test_a_single_scenario_alone_with_everything_on(tiny: Tiny, kept: str) -> None:
    own = {f"pf_msmtrec__{part}": kept for part in ("gates", "normalization", "output_bias")}
    settings = {"federation__tables": "plain", **own, **ONE, **PLAIN}
    alone = tiny.trained(tiny.config("alone", **settings))
    assert same(alone.models, tiny.trained(tiny.config(**settings)).models)


def test_a_scenario_alone_does_not_depend_on_company(tiny: Tiny) -> None:
    everyone = tiny.trained(tiny.config("alone"))
    single = tiny.trained(tiny.config("alone", **ONE))
    assert same({"US": everyone.models["US"]}, single.models)


@pytest.mark.parametrize("method", ["pf-msmtrec", *BASELINES])
def test_neither_nodes_nor_the_order_of_replies_change_a_bit(tiny: Tiny, tmp_path: Path, method: str) -> None:
    config = tiny.config(method, train__ema_decay=0.6, **ALL)
    hosting = NODES.get(method, ((1, False), (4, True)))
    runs = [tiny.train(config, tmp_path / f"{nodes}{turned}", nodes=nodes, turned=turned) for nodes, turned in hosting]
    assert len(runs[0].models) == 4
    assert [len(run.grid.sent) for run in runs] == [nodes + 4 * min(nodes, 4) for nodes, _ in hosting]
    for one, other in pairwise(runs):
        assert same(one.models, other.models)
        assert one.result.test == other.result.test
        assert [record.validation for record in one.result.rounds] == [r.validation for r in other.result.rounds]


def test_another_seed_gives_other_models(tiny: Tiny) -> None:
    one = tiny.trained(tiny.config(seed=0))
    other = tiny.trained(tiny.config(seed=1))
    assert not same(one.models, other.models)


class Watched(PFMSMTRec):
    """Keeps what is coordinated."""

    seen: list[tuple[Tensor, Coordination]]

    def coordinate(self, updates: Tensor) -> Coordination:
        coordination = super().coordinate(updates)
        self.__dict__.setdefault("seen", []).append((updates, coordination))
        return coordination


@pytest.mark.parametrize("settings", [{}, ONE_FOR_ALL], ids=["agreement", "one for all"])
def test_equal_scenarios_stay_equal(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    names = ("AA", "BB", "CC")
    for name in names:
        tiny.write("equal", name, rows=64, seed=5)
    # The order of the rows and dropout are drawn by the scenario's name: here all bear the same.
    from pfmsmtrec_flwr.federation.client import measurements, trainer
    from pfmsmtrec_flwr.seeds import derive_seed

    for module in (measurements, trainer):
        monkeypatch.setattr(module, "derive_seed", lambda *parts: derive_seed(*parts[:-1], "the same"))
    config = tiny.config(data__name="equal", federation__rounds=3, **settings, **ALL)
    run = tiny.train(config, tmp_path / "a", strategy=Watched)
    torch.testing.assert_close(run.strategy.agreement.among(names), torch.ones(3, 3, dtype=torch.float64))
    assert list(run.models) == list(names)
    assert same({"x": run.models["AA"]}, {"x": run.models["BB"]})
    assert same({"x": run.models["AA"]}, {"x": run.models["CC"]})
    for updates, coordination in run.strategy.seen:
        cosine = torch.cosine_similarity(updates[0], coordination.direction, dim=1)
        torch.testing.assert_close(cosine, torch.ones(2), atol=1e-6, rtol=0)
        # U = (1 + c) / (1 + c²) times the common update, c = 0.4
        torch.testing.assert_close(coordination.direction, updates[0] * (1.4 / 1.16), atol=1e-7, rtol=1e-4)


def test_an_overridden_step_takes_effect(tiny: Tiny, tmp_path: Path) -> None:
    class Still(PFMSMTRec):
        def coordinate(self, updates: Tensor) -> Coordination:
            coordination = super().coordinate(updates)
            return Coordination(torch.zeros_like(coordination.direction), coordination.weights, coordination.cosines)

    plain = tiny.trained(tiny.config())
    still = tiny.train(tiny.config(), tmp_path / "b", strategy=Still)
    without = tiny.trained(tiny.config(**PLAIN, pf_msmtrec__expert_weight=0.0))
    frozen = tiny.train(tiny.config(**PLAIN), tmp_path / "d", strategy=Still)
    assert not same(plain.models, still.models)
    assert same(without.models, frozen.models)


class Stages(PFMSMTRec):
    """Keeps every update."""

    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:
        self.__dict__.setdefault("seen", []).append((stage, updates))
        super().aggregate(stage, updates)


@pytest.mark.parametrize("reestimate", [True, False])
def test_bottom_up_trains_towers_alone_in_its_second_exchange(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reestimate: bool
) -> None:
    saved: dict[tuple[str, int], dict[str, Tensor]] = {}
    save = LocalState.save

    def watch(self: LocalState, exchange: int, memory: ClientMemory) -> None:
        saved[self.folder.name, exchange] = {name: tensor.clone() for name, tensor in memory.model.items()}
        save(self, exchange, memory)

    monkeypatch.setattr(LocalState, "save", watch)
    config = tiny.config(pf_msmtrec__schedule="bottom-up", train__reestimate_batch_norm=reestimate)
    run = tiny.train(config, tmp_path / "a", strategy=Stages)
    assert [stage for stage, _ in run.strategy.seen] == [Stage.EXPERTS, Stage.TOWERS] * 2
    slots = run.strategy.seen[0][1][0].slots
    for stage, updates in run.strategy.seen:
        for update in updates:
            parts = {slots[name].part for name in update.end}
            assert parts == ({Part.TOWER} if stage is Stage.TOWERS else {Part.EXPERT})
            assert any(not torch.equal(update.end[name], update.start[name]) for name in update.end)
            assert bool(update.rows) == (stage is Stage.EXPERTS)
    for scenario in ("FR", "US"):
        first, second = saved[scenario, 1], saved[scenario, 2]
        changed = {name for name, value in second.items() if not torch.equal(value, first[name])}
        assert changed  # the towers' own normalization
        local = (Part.NORMALIZATION, Part.TOWER_NORMALIZATION, Part.OUTPUT_BIAS)
        allowed = {name for name in changed if slots[name].part in local}
        assert changed == allowed
        learned = {name for name in changed if name.endswith(("weight", "bias"))}
        assert all(name.startswith("towers.") for name in learned)
    assert not same(run.models, tiny.trained(tiny.config()).models)


def test_training_stops_without_progress_and_the_best_round_counts(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {1: 0.6, 2: 0.9, 3: 0.8, 4: 0.7, 5: 0.99}
    monkeypatch.setattr("pfmsmtrec_flwr.training.records.RoundRecord.score", lambda self, _: scores[self.round])
    settings = {"federation__rounds": 6, "federation__patience": 2}
    run = tiny.train(tiny.config(**settings), tmp_path / "1")
    assert [record.round for record in run.result.rounds] == [1, 2, 3, 4]
    assert run.result.selected == dict.fromkeys(("FR", "US"), 2)
    two = tiny.train(tiny.config(federation__rounds=2), tmp_path / "2")
    assert same(run.models, two.models)
    assert run.result.test == two.result.test
    # Five exchanges travelled both ways, and all of them are counted.
    trained = [message for message in run.grid.sent if message.metadata.message_type == TRAIN]
    assert len(trained) == 5 * 2
    assert sum(record.down_bytes for record in run.result.rounds) == sum(payload_bytes(m.content) for m in trained)


def test_each_scenario_keeps_its_own_round(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = {"NL": 1, "ES": 2, "FR": 3, "US": 3}
    monkeypatch.setattr(
        "pfmsmtrec_flwr.training.records.RoundRecord.score",
        lambda self, scenario: 1.0 - 0.1 * abs(self.round - best[scenario]),
    )
    run = tiny.train(tiny.config(federation__rounds=3, **ALL), tmp_path / "a")
    assert run.result.selected == best
    for rounds in (1, 2, 3):
        monkeypatch.setattr("pfmsmtrec_flwr.training.records.RoundRecord.score", lambda self, _: float(self.round))
        until = tiny.train(tiny.config(federation__rounds=rounds, **ALL), tmp_path / f"{rounds}")
        for scenario in (name for name, number in best.items() if number == rounds):
            assert same({"x": run.models[scenario]}, {"x": until.models[scenario]})


@pytest.fixture
def uneven(tiny: Tiny) -> str:
    """Scenarios of which one lacks a task."""
    for seed, (name, tasks) in enumerate({"AA": ("click", "like"), "BB": ("click",), "CC": ("click", "like")}.items()):
        tiny.write("uneven", name, rows=64, seed=seed, tasks=tasks)
    return "uneven"


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("pf-msmtrec", {}),
        ("pf-msmtrec", {"pf_msmtrec__schedule": "bottom-up"}),
        ("pf-msmtrec", {"pf_msmtrec__template": "none", "pf_msmtrec__gates": "federated"}),
        *((method, {}) for method in BASELINES),
        ("fedamp", {}),
        ("alone", {}),
    ],
)
def test_a_scenario_may_lack_a_task(tiny: Tiny, uneven: str, method: str, settings: dict[str, str]) -> None:
    run = tiny.trained(tiny.config(method, data__name=uneven, **ALL, **settings))
    assert not [name for name in run.models["BB"] if "like" in name]
    assert [name for name in run.models["AA"] if "like" in name]
    assert "auc.like" in run.result.test["AA"]
    assert "auc.like" not in run.result.test["BB"]


@pytest.mark.parametrize("method", ["fedavg", "fedamp", "pf-msmtrec"])
@pytest.mark.parametrize("architecture", ["single-task", "ple", "aitm", "esmm"])
def test_nor_is_what_an_architecture_keeps_per_task(tiny: Tiny, uneven: str, method: str, architecture: str) -> None:
    settings = {"model__architecture": architecture, "model__experts": 3, **ALL}
    message = rf"^{method} shares what a model of architecture {architecture} keeps per task \(.*expert"
    with pytest.raises(UserError, match=message) as caught:
        tiny.trained(tiny.config(method, data__name=uneven, **settings))
    assert str(caught.value).endswith(
        ", but AA has the tasks click, like and BB has click: set model.architecture=shared-bottom, "
        "or leave one of them out"
    )
    alone = tiny.trained(tiny.config("alone", data__name=uneven, **settings))
    assert "auc.like" not in alone.result.test["BB"]


def test_nor_is_normalization_with_a_template(tiny: Tiny, uneven: str) -> None:
    settings = {"pf_msmtrec__normalization": "federated", **ALL}
    message = r"\(normalization\), but AA has .* BB has click: set pf-msmtrec.template=none, or"
    with pytest.raises(UserError, match=message):
        tiny.trained(tiny.config(data__name=uneven, **settings))
    run = tiny.trained(tiny.config(data__name=uneven, pf_msmtrec__template="none", **settings))
    assert "auc.like" not in run.result.test["BB"]


@pytest.mark.parametrize("schedule", ["fused", "bottom-up"])
@pytest.mark.parametrize("gates", ["local", "federated"])
def test_nothing_private_is_in_any_message(tiny: Tiny, schedule: str, gates: str) -> None:
    settings = {"pf_msmtrec__schedule": schedule, "pf_msmtrec__gates": gates}
    run = tiny.trained(tiny.config(**settings))
    slots = run.strategy.parameters.slots["US"]
    allowed = {Part.EXPERT, Part.TOWER, Part.FEDERATED_EMBEDDING}
    allowed |= {Part.GATE} if gates == "federated" else set()
    seen = set()
    for message in (*run.grid.sent, *run.grid.replies):
        for key, record in message.content.array_records.items():
            if "/rows/" in key:
                assert set(record) == {"rows", "values", "counts" if message in run.grid.replies else "checksum"}
                seen.add(slots[key.partition("/rows/")[2]].part)
            else:
                assert key == "common" or key == "consensus" or key.endswith("/parameters")
                seen |= {slots[name].part for name in record}
    assert seen == allowed
    # Nor are sizes of local tables, which count people, in the handshake.
    hello = run.grid.replies[0].content.config_records["hello"]["hello"]
    assert '"rows": [12, 4, 1]' in str(hello)


@pytest.mark.parametrize("method", BASELINES)
def test_no_baseline_sends_what_is_private(tiny: Tiny, method: str) -> None:
    run = tiny.trained(tiny.config(method))
    slots = run.strategy.parameters.slots["US"]
    travelling = {
        slots[name].part for name in (*run.strategy.parameters.common, *run.strategy.parameters.personal["US"])
    }
    sent = set()
    for message in (*run.grid.sent, *run.grid.replies):
        for key, record in message.content.array_records.items():
            sent |= {key.partition("/rows/")[2]} if "/rows/" in key else set(record)
    assert {slots[name].part for name in sent} == travelling  # a name of the scenario's own memory is in no slot
    assert Part.LOCAL_EMBEDDING not in travelling
    assert Part.FEDERATED_EMBEDDING in travelling


def test_of_a_table_only_touched_rows_come_back(tiny: Tiny, tmp_path: Path) -> None:
    from pfmsmtrec_flwr.data.store.reader import ScenarioStore

    run = tiny.train(tiny.config(train__max_local_steps=1), tmp_path / "a", nodes=4)
    replies = [unpack_replies(reply.content) for reply in run.grid.replies if reply.metadata.message_type == TRAIN]
    assert len(replies) == 4
    before = run.strategy.federation.scenarios
    for answer in replies:
        for scenario, reply in answer.items():
            assert not [name for name in reply.parameters if "embeddings" in name]
            update = reply.rows["federated_embeddings.weight"]
            categorical = ScenarioStore.open(tiny.root / "tiny" / scenario).splits["train"].categorical
            possible = set(categorical[:, 0].tolist()) | {12 + value for value in categorical[:, 1].tolist()}
            assert set(update.rows.tolist()) <= possible
            assert int(update.counts.sum()) == 16 * 2  # one batch, two federated fields
            assert update.values.shape == (len(update.rows), 2)
            assert before[scenario].examples["train"] > 16


def test_a_run_broken_off_in_the_same_folder_leaves_no_trace(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ScenarioStrategy, "configure_evaluate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tiny.train(tiny.config(federation__rounds=4, seed=3), tmp_path / "a")
    assert (tmp_path / "a" / "clients" / "pf-msmtrec" / "US" / "state-4.safetensors").exists()
    again = tiny.train(tiny.config(federation__rounds=3), tmp_path / "a")
    assert same(again.models, tiny.trained(tiny.config(federation__rounds=3)).models)
