"""A model that holds the rows in use alone gives what the whole table gives, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import POOLED, make_settings, make_spec
from federated import Tiny, Trained, same
from flwr.app import Message
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.data.store.manifest import Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client import receiving, table_copies, used_rows
from pfmsmtrec_flwr.federation.client.client import HOOKS, ScenarioClient
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
from pfmsmtrec_flwr.federation.client.used_rows import TABLE, UsedRows, few_rows_serve
from pfmsmtrec_flwr.federation.protocol import Incoming, Order
from pfmsmtrec_flwr.methods import client_of
from pfmsmtrec_flwr.methods.pf_msmtrec import PFMSMTRecClient
from pfmsmtrec_flwr.model import FieldSpec, ScenarioModel, build_model, draw_parameters
from pfmsmtrec_flwr.model.build import ARCHITECTURES
from pfmsmtrec_flwr.training.description import model_spec

FOUR: dict[str, Any] = {"federation__scenarios": ["ES", "FR", "NL", "US"], "federation__rounds": 3}
ADAGRAD: dict[str, Any] = {"train__embedding_optimizer": "adagrad", "train__optimizer_state": "keep"}
WIDE: dict[str, Any] = {"model__embedding_dim": 8}


def use_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every scenario hold the rows in use, whatever the size of its table."""
    monkeypatch.setattr(table_copies, "LARGE_ROWS", 1)
    monkeypatch.setattr(used_rows, "ROWS_PER_USE", 0)


def arrays(messages: list[Message]) -> list[dict[tuple[str, str], bytes]]:
    return [
        {
            (key, name): array.data
            for key, record in each.content.array_records.items()
            for name, array in record.items()
        }
        for each in messages
    ]


def client_files(run: Trained) -> dict[str, bytes]:
    """Return the scenarios' files: parameters, descriptions with checksums, model cards, predictions."""
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}


def us(tiny: Tiny) -> ScenarioStore:
    return ScenarioStore.open(tiny.root / "tiny" / "US")


def store_of(*fields: Field, **splits: list[list[int]]) -> ScenarioStore:
    def split(rows: list[list[int]]) -> Split:
        categorical = np.array(rows, dtype=np.int32)
        return Split(categorical, np.zeros((len(rows), 0), np.float32), np.zeros((len(rows), 1), np.uint8), None, None)

    return ScenarioStore(
        Path(), "shop", "NL", fields, (), ("ctr",), "1f", {name: split(rows) for name, rows in splits.items()}
    )


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("pf-msmtrec", WIDE),
        ("pf-msmtrec", ADAGRAD),
        ("pf-msmtrec", {**ADAGRAD, "federation__precision": "int8"}),
        ("pf-msmtrec", {**ADAGRAD, "federation__tables": "local"}),
        ("pf-msmtrec", {**ADAGRAD, "model__architecture": "stem"}),
        ("fedavg", WIDE),
        ("fedper", {**ADAGRAD, "federation__precision": "half"}),
        ("fedprox", ADAGRAD),
        ("fedrep", ADAGRAD),
        ("fedhca2", ADAGRAD),
        ("mat-fl", ADAGRAD),
        ("pf-msmtrec", {**ADAGRAD, "federation__evaluate_consensus": True}),
        ("alone", ADAGRAD),
    ],
)
def test_a_run_is_the_same_to_the_bit(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, settings: dict[str, Any]
) -> None:
    config = tiny.config(method, **FOUR, **settings)
    whole = tiny.trained(config)
    use_few_rows(monkeypatch)
    few = tiny.train(config, tmp_path / "few")
    assert client_of(method)(us(tiny), config, LocalState(tmp_path)).used.rows is not None
    assert same(whole.models, few.models)
    assert arrays(few.grid.sent) == arrays(whole.grid.sent)
    assert arrays(few.grid.replies) == arrays(whole.grid.replies)
    assert client_files(few) == client_files(whole)
    assert [record.validation for record in few.result.rounds] == [record.validation for record in whole.result.rounds]
    assert [record.losses for record in few.result.rounds] == [record.losses for record in whole.result.rounds]


@pytest.mark.parametrize("method", ["ditto", "apfl", "fedala", "fedamp", "mr-mtl"])
def test_a_method_that_mixes_models_holds_all_rows(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    use_few_rows(monkeypatch)
    client = client_of(method)(us(tiny), tiny.config(method, **WIDE), LocalState(tmp_path))
    assert client.used.rows is None


@pytest.mark.parametrize(
    ("settings", "few"),
    [
        (WIDE, True),
        ({"model__embedding_dim": 12}, False),
        ({"model__embedding_dim": 12, **ADAGRAD}, True),
        ({"train__weight_decay": 0.1, **WIDE}, False),
        ({"train__weight_decay": 0.1, **ADAGRAD}, True),
        ({"train__ema_decay": 0.5, **WIDE}, False),
        ({"privacy__clip_norm": 1.0, "privacy__noise": 0.5, **WIDE}, False),
    ],
)
def test_all_rows_are_held_where_others_than_those_in_use_would_move(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], few: bool
) -> None:
    use_few_rows(monkeypatch)
    assert few_rows_serve(us(tiny), tiny.config(**settings)) == few


def test_an_architecture_of_another_package_holds_all_rows(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    use_few_rows(monkeypatch)
    monkeypatch.setattr(used_rows, "ARCHITECTURES", {"other": None})
    assert not few_rows_serve(us(tiny), tiny.config(**WIDE))


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_subclass_that_overrides_what_may_move_other_rows_holds_all(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    use_few_rows(monkeypatch)
    inner = PFMSMTRecClient
    plain = type("Plain", (inner,), {})
    overriding = type("Overriding", (plain,), {hook: getattr(inner, hook)})
    saying = type("Saying", (inner,), {hook: getattr(inner, hook), "moves_used_rows_alone": True})
    config = tiny.config(**WIDE)
    for kind, few in ((plain, True), (overriding, False), (saying, True), (type("Last", (overriding,), {}), False)):
        assert (kind(us(tiny), config, LocalState(tmp_path)).used.rows is not None) == few


def test_a_table_that_does_not_travel_is_drawn_once(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_few_rows(monkeypatch)
    config, drawn = tiny.config("alone", **ADAGRAD), []

    def counted(model: ScenarioModel, seed: int) -> None:
        drawn.append(seed)
        draw_parameters(model, seed)

    monkeypatch.setattr(receiving, "draw_parameters", counted)
    order = Order(config.model_dump_json(), "alone", round=1, exchange=1)
    for exchange in (1, 2, 3):
        client = ScenarioClient(us(tiny), config, LocalState(tmp_path))
        client.train(replace(order, exchange=exchange, evaluate=exchange > 1), Incoming({}, {}))
    assert len(drawn) == 1


def test_an_exchange_that_fails_again_and_again_writes_a_whole_table_once(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_few_rows(monkeypatch)
    config = tiny.config(train__lr=1e30, **ADAGRAD)
    order = Order(config.model_dump_json(), "pf-msmtrec", round=1, exchange=1)
    table = torch.rand(16, 2)
    for _ in range(3):
        with pytest.raises(UserError, match="the training loss became"):
            ScenarioClient(us(tiny), config, LocalState(tmp_path)).train(order, Incoming({TABLE: table.clone()}, {}))
    assert [path.name for path in tmp_path.iterdir()] == [f"table-1-{TABLE}.safetensors"]


def test_an_earlier_model_brings_all_rows(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_few_rows(monkeypatch)
    state = LocalState(tmp_path / "now", start=tmp_path / "before")
    assert ScenarioClient(us(tiny), tiny.config(**WIDE), state).used.rows is None


@pytest.mark.parametrize(("rows", "few"), [(99_999, False), (100_000, True), (639, False)])
def test_few_rows_are_a_quarter_of_a_large_table(tiny: Tiny, rows: int, few: bool) -> None:
    store = store_of(Field("item", rows, True), Field("person", 10**6, False), train=[[1, 1]] * 10, test=[[2, 1]])
    assert few_rows_serve(store, tiny.config(**WIDE)) == few


def test_uses_count_and_not_different_values(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_copies, "LARGE_ROWS", 1)
    fields = Field("item", 80, True), Field("genre", 40, True, 2)
    for impressions, few in ((10, True), (11, False)):  # of three values each
        assert few_rows_serve(store_of(*fields, train=[[1, 1, 1]] * impressions), tiny.config(**WIDE)) == few


CATEGORICAL = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 4), st.integers(0, 6), st.integers(0, 6)).map(list),
    min_size=1,
    max_size=6,
)


@given(CATEGORICAL, CATEGORICAL)
def test_the_embedding_of_each_impression_is_that_of_the_whole_table(
    train: list[list[int]], test: list[list[int]]
) -> None:
    fields = Field("item", 9, True), Field("person", 5, False), Field("genre", 7, True, 2)
    used = UsedRows.of(store_of(*fields, train=train, test=test))
    whole, few = (
        build_model(model_spec(store), ModelSettings(embedding_dim=2), 0) for store in (used.whole, used.store)
    )
    assert few.local_embeddings is not None and used.rows is not None
    state = whole.state_dict()
    few.load_state_dict(used.parts(state))
    assert (used.rows.diff() > 0).all()
    for split, numbered in zip(used.whole.splits.values(), used.store.splits.values(), strict=True):
        numeric = torch.zeros(len(split), 0)
        one, other = (
            model.embed(torch.from_numpy(rows.categorical), numeric)
            for model, rows in ((whole, split), (few, numbered))
        )
        assert torch.equal(one, other)
    part = used.part(TABLE, TableCopy.of(state[TABLE]))
    assert torch.equal(state[TABLE][used.numbers(TABLE, torch.arange(len(part)))], part)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_but_the_table_depends_on_the_rows_of_federated_fields(architecture: str) -> None:
    def shapes(rows: int) -> dict[str, torch.Size]:
        fields = (FieldSpec("item", rows, True), FieldSpec("person", 5, False))
        spec = make_spec(scenarios=2 if architecture in POOLED else 0, fields=fields)
        model = build_model(spec, make_settings(architecture), 0)
        return {name: tensor.shape for name, tensor in model.state_dict().items()}

    few, many = shapes(4), shapes(9)
    assert {name for name in few if few[name] != many[name]} == {TABLE}
    assert (len(few), few[TABLE][0], many[TABLE][0]) == (len(many), 4, 9)


def test_rows_that_were_prepared_anew_during_a_run_are_said_in_one_line(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_few_rows(monkeypatch)
    store, config, state = us(tiny), tiny.config(**ADAGRAD), LocalState(tmp_path)
    order = Order(config.model_dump_json(), "pf-msmtrec", round=1, exchange=1)
    ScenarioClient(store, config, state).train(order, Incoming({}, {}))
    other = {name: replace(split, categorical=np.zeros_like(split.categorical)) for name, split in store.splits.items()}
    changed = replace(store, splits=other)
    with pytest.raises(UserError, match=r"^scenario US: its memory of the exchange before belongs to other prepared"):
        ScenarioClient(changed, config, state).train(replace(order, exchange=2), Incoming({}, {}))
    ScenarioClient(store, config, state).train(replace(order, exchange=2), Incoming({}, {}))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (torch.zeros(5, 2), r"is torch.float32 \(5, 2\), expected torch.float32 \(16, 2\)"),
        (torch.zeros(16, 3), r"is torch.float32 \(16, 3\), expected torch.float32 \(16, 2\)"),
        (torch.zeros(()), r"is torch.float32 \(\), expected torch.float32 \(16, 2\)"),
        (torch.full((16, 2), torch.inf), "has values that are not finite"),
    ],
)
def test_a_whole_table_that_does_not_fit_is_refused(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Tensor, message: str
) -> None:
    use_few_rows(monkeypatch)
    config = tiny.config(**ADAGRAD)
    order = Order(config.model_dump_json(), "pf-msmtrec", round=1, exchange=1)
    client = ScenarioClient(us(tiny), config, LocalState(tmp_path))
    with pytest.raises(UserError, match=f"^scenario US: parameter {TABLE} {message}"):
        client.train(order, Incoming({TABLE: table}, {}))
