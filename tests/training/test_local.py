"""Local training of one scenario."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.config import ModelSettings, TrainSettings
from pfmsmtrec_flwr.data.batches import batches, split_bytes
from pfmsmtrec_flwr.data.device_rows import DeviceRows
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, ScenarioModel, build_model
from pfmsmtrec_flwr.training import local
from pfmsmtrec_flwr.training.local import (
    SMALLEST_BATCH,
    Anchor,
    GradientStep,
    TrainReport,
    local_batch_size,
    local_steps,
    steps_per_epoch,
    train_locally,
    trained_only,
)
from pfmsmtrec_flwr.training.optimizers import make_optimizer

CPU = torch.device("cpu")
FIELDS = (FieldSpec("user", 9, False), FieldSpec("item", 6, True), FieldSpec("hour", 4, True))


def build(fields: tuple[FieldSpec, ...] = FIELDS, **changes: object) -> ScenarioModel:
    fixed = {"embedding_dim": 2, "experts": 2, "expert_layers": (8,), "tower_layers": (4,)}
    return build_model(ModelSpec(fields, 2, ("ctr", "cvr")), ModelSettings.model_validate({**fixed, **changes}), seed=0)


def split_of(rows: int, columns: int = 3) -> Split:
    """Labels that follow from the numeric columns."""
    generator = np.random.default_rng(0)
    numeric = generator.normal(size=(rows, 2)).astype(np.float32)
    categorical = generator.integers(0, [9, 6, 4], (rows, 3)).astype(np.int32)[:, :columns]
    return Split(categorical, numeric, (numeric > 0).astype(np.uint8), None, None)


def train(
    model: ScenarioModel,
    split: Split,
    *,
    seed: int = 0,
    steps: int | None = None,
    consensus: dict[str, Tensor] | None = None,
    weight: float = 0.0,
    **changes: object,
) -> TrainReport:
    train_settings = TrainSettings.model_validate({"batch_size": 16, "lr": 0.01, **changes})
    optimizer = make_optimizer(model, train_settings)
    step = GradientStep(model, optimizer, train_settings, [Anchor(consensus or {}, weight)])
    return train_locally(step, split, train_settings, seed=seed, device=CPU, steps=steps)


def equal_states(first: ScenarioModel, second: ScenarioModel) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 200), st.integers(2, 40), st.booleans())
def test_steps_agree_with_the_batches(rows: int, size: int, windows: bool) -> None:
    empty = np.zeros((rows, 0), dtype=np.int32)
    split = Split(empty, empty.astype(np.float32), np.zeros((rows, 1), dtype=np.uint8), None, None)
    window = 30 if windows else 10_000
    made = list(batches(split, size, generator=np.random.default_rng(0), window_rows=window))
    assert steps_per_epoch(rows, size) == len(made)


@pytest.mark.parametrize(
    ("rows", "size", "expected"),
    [(0, 4, 0), (1, 4, 1), (4, 4, 1), (5, 4, 1), (6, 4, 2), (8, 4, 2), (9, 4, 2), (3, 2, 1)],
)
def test_a_single_row_left_over_is_no_step(rows: int, size: int, expected: int) -> None:
    assert steps_per_epoch(rows, size) == expected


@pytest.mark.parametrize(
    ("epochs", "limit", "expected"), [(1.0, 0, 10), (0.5, 0, 5), (2.0, 0, 20), (0.01, 0, 1), (2.0, 7, 7), (0.5, 7, 5)]
)
def test_steps_of_a_round(epochs: float, limit: int, expected: int) -> None:
    assert local_steps(100, TrainSettings(batch_size=10, local_epochs=epochs, max_local_steps=limit)) == expected


def test_the_same_seed_gives_the_same_bits() -> None:
    split = split_of(70)
    first, second, other = build(dropout=0.3), build(dropout=0.3), build(dropout=0.3)
    torch.manual_seed(1)
    reports = [train(first, split, seed=5)]
    torch.manual_seed(2)
    reports.append(train(second, split, seed=5))
    train(other, split, seed=6)
    assert equal_states(first, second)
    assert torch.equal(reports[0].losses, reports[1].losses)
    assert not equal_states(first, other)


def test_dropout_follows_the_seed_too() -> None:
    # One batch of all rows: their order does not matter beyond rounding, dropout does.
    split = split_of(64)
    reports = [
        train(build(dropout=dropout), split, seed=seed, steps=1, batch_size=64)
        for dropout in (0.0, 0.5)
        for seed in (0, 1)
    ]
    without, with_dropout = reports[:2], reports[2:]
    torch.testing.assert_close(without[0].losses, without[1].losses)
    assert float((with_dropout[0].losses - with_dropout[1].losses).abs().max()) > 1e-3


def test_the_processes_own_random_numbers_are_put_back() -> None:
    model = build(dropout=0.3)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    train(model, split_of(40))
    assert torch.equal(torch.rand(3), expected)


def test_the_report_counts_rows_and_steps() -> None:
    split = split_of(49)  # 16 + 16 + 17
    report = train(build(), split)
    assert (report.steps, report.examples) == (3, 49)
    assert report.seconds > 0
    assert report.losses.shape == (2,)
    # The federated fields' stack: six rows of items, then four of hours.
    items = np.bincount(split.categorical[:, 1], minlength=6)
    hours = np.bincount(split.categorical[:, 2], minlength=4)
    assert report.row_counts is not None
    assert report.row_counts.tolist() == [*items, *hours]


def test_several_passes_count_rows_several_times() -> None:
    split = split_of(32)
    once, twice = (train(build(), split, local_epochs=epochs) for epochs in (1.0, 2.0))
    assert once.row_counts is not None
    assert twice.row_counts is not None
    assert torch.equal(twice.row_counts, 2 * once.row_counts)
    assert (twice.steps, twice.examples) == (4, 64)


def test_given_steps_go_on_over_the_end_of_a_pass() -> None:
    report = train(build(), split_of(32), steps=5)
    assert (report.steps, report.examples) == (5, 80)


def test_without_federated_fields_there_are_no_counts() -> None:
    assert train(build(FIELDS[:1]), split_of(32, columns=1)).row_counts is None


def test_untouched_rows_keep_their_bits() -> None:
    split = split_of(60)
    split.categorical[:, 1] %= 3
    model = build()
    table = model.federated_embeddings
    assert table is not None
    before = table.weight.detach().clone()
    report = train(model, split)
    assert report.row_counts is not None
    untouched = report.row_counts == 0
    assert untouched.tolist() == [False] * 3 + [True] * 3 + [False] * 4
    assert torch.equal(table.weight[untouched], before[untouched])
    assert (table.weight[~untouched] != before[~untouched]).all()


def test_the_reported_loss_is_the_mean_over_the_batches() -> None:
    split = split_of(64)
    model = build(dropout=0.0).train()
    with torch.no_grad():
        logits = model(torch.from_numpy(split.categorical), torch.from_numpy(split.numeric))
    truth = torch.from_numpy(split.labels).float()
    expected = -(truth * logits.sigmoid().log() + (1 - truth) * (1 - logits.sigmoid()).log()).mean(dim=0)
    report = train(build(dropout=0.0), split, steps=1, batch_size=64)
    torch.testing.assert_close(report.losses, expected, rtol=1e-4, atol=1e-5)


def test_an_easy_problem_is_learned() -> None:
    model, split = build(dropout=0.0), split_of(256)
    first = train(model, split, local_epochs=1.0)
    last = [train(model, split, seed=seed, local_epochs=3.0) for seed in range(1, 4)][-1]
    assert (last.losses < 0.25).all()
    assert (last.losses < first.losses / 2).all()
    assert model.training


def distance(model: ScenarioModel, consensus: dict[str, Tensor]) -> float:
    state = model.state_dict()
    return float(sum((state[name] - value).square().sum() for name, value in consensus.items()))


def test_the_regularizer_keeps_parameters_near_the_consensus() -> None:
    split = split_of(128)
    names = [name for name, _ in build().named_parameters() if name.startswith(("experts.layers", "towers"))]
    consensus = {name: build().state_dict()[name].clone() for name in names}
    far = []
    for weight in (0.0, 0.1, 10.0):
        model = build()
        train(model, split, consensus=consensus, weight=weight, local_epochs=3.0)
        far.append(distance(model, consensus))
    assert far[0] > far[1] > 2 * far[2]


def test_the_pull_follows_the_optimizers_step() -> None:
    # One step without a pull, and the same step halfway back to zero: lr * weight / (1 + lr * weight) = 1/2.
    split, plain, pulled = split_of(64), build(), build()
    zeros = {name: torch.zeros_like(value) for name, value in pulled.named_parameters()}
    settings = {"steps": 1, "lr": 0.01, "embedding_optimizer": "adagrad", "embedding_lr": 0.5}
    train(plain, split, **settings)  # type: ignore[arg-type]
    train(pulled, split, consensus=zeros, weight=100.0, **settings)  # type: ignore[arg-type]
    for name, value in plain.named_parameters():
        torch.testing.assert_close(pulled.get_parameter(name), value / 2)  # tables of Adagrad by train.lr too


def test_a_regularizer_of_zero_changes_no_bit() -> None:
    split, plain, regularized = split_of(64), build(), build()
    train(plain, split)
    zeros = {name: torch.zeros_like(value) for name, value in regularized.named_parameters()}
    train(regularized, split, consensus=zeros, weight=0.0)
    assert equal_states(plain, regularized)


def test_frozen_parameters_stay() -> None:
    model = build()
    before = {name: value.clone() for name, value in model.named_parameters()}
    with trained_only(model, [name for name in before if not name.startswith("experts")]):
        train(model, split_of(64))
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("experts"), name
        assert value.requires_grad


@pytest.mark.parametrize(
    ("rows", "size", "least", "expected"),
    [
        (1000, 512, 0, 512),
        (1000, 512, 2, 500),
        (1000, 512, 24, 41),
        (1000, 512, 40, SMALLEST_BATCH),
        (20_000, 512, 24, 512),
        (1000, 16, 40, 16),
    ],
)
def test_few_rows_have_smaller_batches(rows: int, size: int, least: int, expected: int) -> None:
    assert local_batch_size(rows, TrainSettings(batch_size=size, min_steps=least)) == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 5000), st.integers(2, 600), st.integers(1, 60))
def test_a_pass_has_the_least_steps_unless_batches_would_be_too_small(rows: int, size: int, least: int) -> None:
    wanted = TrainSettings(batch_size=size, min_steps=least)
    made = local_batch_size(rows, wanted)
    assert min(size, SMALLEST_BATCH) <= made <= size
    assert made <= SMALLEST_BATCH or rows // made >= least
    assert local_steps(rows, wanted) == steps_per_epoch(rows, made)


def test_smaller_batches_are_what_is_trained_on() -> None:
    report = train(build(), split_of(400), batch_size=200, min_steps=8)
    assert (report.steps, report.examples) == (8, 400)


def test_mixed_precision_trains_near_full_precision() -> None:
    split = split_of(128)
    full, mixed = (train(build(dropout=0.0), split, mixed_precision=wanted) for wanted in (False, True))
    assert not torch.equal(full.losses, mixed.losses)
    torch.testing.assert_close(full.losses, mixed.losses, atol=0.02, rtol=0)


def test_a_loss_that_is_no_number_is_told() -> None:
    split = split_of(32)
    split.numeric[3, 0] = np.inf
    with pytest.raises(FloatingPointError, match=r"training loss became \[nan, nan\]: lower train.lr \(now 0.01\)"):
        train(build(), split)


def test_a_loss_that_is_no_number_names_the_rate_of_the_tables_too() -> None:
    split = split_of(32)
    split.numeric[3, 0] = np.inf
    with pytest.raises(FloatingPointError, match=r"train.lr \(now 0.01\) or train.embedding_lr \(now 0.05\)$"):
        train(build(), split, embedding_optimizer="adagrad")


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_are_refused(rows: int) -> None:
    with pytest.raises(ValueError, match=f"got {rows} training rows, expected two or more"):
        train(build(), split_of(rows))


def test_losses_are_means_over_the_batches_that_have_labels() -> None:
    split = split_of(32)
    labels = np.full_like(split.labels, MISSING_LABEL)
    labels[:, 0] = 1
    labels[5, 1] = 1  # in one of two batches of a pass
    model = build()
    for value in model.parameters():
        torch.nn.init.zeros_(value)  # each row's loss is log 2
    tiny_steps = TrainSettings(batch_size=16, lr=1e-9)
    step = GradientStep(model, make_optimizer(model, tiny_steps), tiny_steps)
    rows = replace(split, labels=labels, unlabelled=True)
    report = train_locally(step, rows, tiny_steps, seed=0, device=CPU, steps=2)
    assert report.losses.tolist() == pytest.approx([math.log(2), math.log(2)])
    labels[5, 1] = MISSING_LABEL
    report = train_locally(step, rows, tiny_steps, seed=0, device=CPU, steps=2)
    assert report.losses[1] == 0.0


@pytest.mark.parametrize(("steps", "copied"), [(None, 1), (8, 1), (3, 0)])
def test_rows_that_fit_are_copied_once_if_all_are_wanted(
    monkeypatch: pytest.MonkeyPatch, steps: int | None, copied: int
) -> None:
    split, plain = split_of(65), build(dropout=0.2)
    train(plain, split, steps=steps, local_epochs=2.0)
    made: list[Split] = []
    of = DeviceRows.of

    def noted(rows: Split, device: torch.device) -> DeviceRows:
        made.append(rows)
        return of(rows, device)

    monkeypatch.setattr(local, "rows_fit", lambda size, _: size == split_bytes(split))
    monkeypatch.setattr(DeviceRows, "of", noted)
    held = build(dropout=0.2)
    train(held, split, steps=steps, local_epochs=2.0)
    assert len(made) == copied
    assert all(torch.equal(value, held.state_dict()[name]) for name, value in plain.state_dict().items())
