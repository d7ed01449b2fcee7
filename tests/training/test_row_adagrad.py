"""Steps by rows of a table give the bits of steps of the whole table."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import embedding

from pfmsmtrec_flwr.config import ModelSettings, TrainSettings
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, ScenarioModel, build_model
from pfmsmtrec_flwr.training import optimizers
from pfmsmtrec_flwr.training.local import Anchor, GradientStep, train_locally
from pfmsmtrec_flwr.training.optimizers import LocalOptimizer, make_optimizer
from pfmsmtrec_flwr.training.row_adagrad import RowAdagrad, gradient_by_row

ALL, NONE = 0, 10**9
"""Values of `LARGE` for which all tables, or none, are moved by rows."""


def whole(moments: dict[str, Tensor], rows: int) -> Tensor:
    """Return the sums of all rows from moments of either form."""
    if "rows" not in moments:
        return moments["sum"]
    return torch.zeros(rows, moments["sum"].shape[1]).index_copy(0, moments["rows"].long(), moments["sum"])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 19), st.integers(1, 300), st.integers(0, 2**31))
def test_random_steps_have_the_bits_of_torchs_own(rows: int, width: int, uses: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(rows, width, generator=generator)
    dense, by_row = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    theirs, ours = torch.optim.Adagrad([dense], lr=0.05, fused=True), RowAdagrad([by_row], lr=0.05)
    for _ in range(3):
        used = torch.randint(0, rows, (uses,), generator=generator)
        factors = torch.randn(uses, width, generator=generator)
        for optimizer, table in ((theirs, dense), (ours, by_row)):
            optimizer.zero_grad()
            (embedding(used, table, sparse=table is by_row) * factors).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert torch.equal(dense, by_row)
    assert torch.equal(theirs.state[dense]["sum"], whole(ours.moments_of(by_row), rows))


def test_a_dense_gradient_moves_the_rows_that_have_one() -> None:
    table = nn.Parameter(torch.ones(4, 2))
    table.grad = torch.zeros(4, 2)
    table.grad[2, 1] = 3.0
    rows, gradient = gradient_by_row(table.grad)
    assert (rows.tolist(), gradient.tolist()) == ([2], [[0.0, 3.0]])
    optimizer = RowAdagrad([table], lr=0.5)
    optimizer.step()
    assert table.tolist() == [[1, 1], [1, 1], [1, 0.5], [1, 1]]
    assert optimizer.moments_of(table)["sum"].tolist() == [[0, 9]]


FIELDS = (
    FieldSpec("user", 40, False),
    FieldSpec("item", 30, True),
    FieldSpec("brand", 5, True),
    FieldSpec("tags", 20, True, most=3),
)


def build(seed: int = 0) -> ScenarioModel:
    own = {"embedding_dim": 3, "experts": 2, "expert_layers": (4,), "tower_layers": (3,), "dropout": 0.1}
    return build_model(ModelSpec(FIELDS, 2, ("ctr", "cvr")), ModelSettings.model_validate(own), seed=seed)


def split_of(rows: int, seed: int) -> Split:
    """Rows of which many repeat a value, and tags that repeat within a row or lack."""
    generator = np.random.default_rng(seed)
    numeric = generator.normal(size=(rows, 2)).astype(np.float32)
    skewed = generator.random((rows, 6)) ** 3
    categorical = (skewed * [40, 30, 5, 20, 20, 20]).astype(np.int32)
    return Split(categorical, numeric, (numeric > 0.5).astype(np.uint8), None, None)


def trained(
    monkeypatch: pytest.MonkeyPatch, large: int, split: Split, pull: float, state: Literal["keep", "reset"]
) -> tuple[ScenarioModel, LocalOptimizer]:
    """Train a model for two rounds, with anchors that are its start in some rows of the tables only."""
    monkeypatch.setattr(optimizers, "LARGE", large)
    model = build()
    train = TrainSettings(batch_size=16, lr=0.1, embedding_optimizer="adagrad")
    anchors = {name: value.clone() for name, value in build().named_parameters()}
    anchors["federated_embeddings.weight"][::3] = build(1).get_parameter("federated_embeddings.weight")[::3]
    optimizer = make_optimizer(model, train)
    for round_number in range(2):
        before, optimizer = optimizer, make_optimizer(model, train)
        if round_number and state == "keep":
            for parameter in model.parameters():
                optimizer.restore(parameter, before.moments_of(parameter))
        step = GradientStep(model, optimizer, train, [Anchor({k: v.detach() for k, v in anchors.items()}, pull)])
        train_locally(step, split, train, seed=round_number, device=torch.device("cpu"))
    return model, optimizer


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pull", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("state", ["keep", "reset"])
def test_a_training_by_rows_has_the_bits_of_one_of_whole_tables(
    monkeypatch: pytest.MonkeyPatch, seed: int, pull: float, state: Literal["keep", "reset"]
) -> None:
    split = split_of(50 + 7 * seed, seed)
    by_row, ours = trained(monkeypatch, ALL, split, pull, state)
    dense, theirs = trained(monkeypatch, NONE, split, pull, state)
    assert [len(each.optimizers) for each in (ours, theirs)] == [2, 2]
    assert any(isinstance(each, RowAdagrad) for each in ours.optimizers)
    other = dense.state_dict()
    for name, value in by_row.state_dict().items():
        assert torch.equal(value, other[name]), name
    for own, their in zip(by_row.tables, dense.tables, strict=True):
        sums = (whole(each.moments_of(table.weight), len(own.weight)) for each, table in ((ours, own), (theirs, their)))
        assert torch.equal(*sums)


def test_sums_are_kept_for_used_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    split = split_of(20, 0)
    model, optimizer = trained(monkeypatch, ALL, split, 0.0, "reset")
    table = model.local_embeddings
    assert table is not None
    moments = optimizer.moments_of(table.weight)
    assert sorted(moments["rows"].tolist()) == sorted(set(split.categorical[:, 0].tolist()))
    assert moments["sum"].shape == (len(moments["rows"]), 3)


@pytest.mark.parametrize(("rows", "sparse"), [(8 * 32 - 1, False), (8 * 32, True)])
def test_a_table_is_large_if_a_batch_uses_few_of_its_rows(rows: int, sparse: bool) -> None:
    spec = ModelSpec((FieldSpec("user", rows - 6, False), FieldSpec("hour", 6, False)), 1, ("ctr",))
    model = build_model(spec, ModelSettings(embedding_dim=1), seed=0)
    make_optimizer(model, TrainSettings(batch_size=16, embedding_optimizer="adagrad"))
    assert [table.sparse for table in model.tables] == [sparse]
    make_optimizer(model, TrainSettings(batch_size=16))  # Adam moves every row
    assert [table.sparse for table in model.tables] == [False]
