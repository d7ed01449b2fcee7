"""The median and the trimmed mean, against Flower's and by hand."""

from __future__ import annotations

import pytest
import torch
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedMedian, FedTrimmedAvg
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pfmsmtrec_flwr.aggregation.averages import average, middle, robust_rows
from pfmsmtrec_flwr.aggregation.consensus import weighted_mean
from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate, average_tables
from pfmsmtrec_flwr.config import AverageKind
from pfmsmtrec_flwr.federation.protocol import pack_tensors, unpack_tensors


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def flowers(strategy: FedMedian | FedTrimmedAvg, values: Tensor) -> Tensor:
    """Return what one of Flower's strategies makes of the scenarios' values (K, ...)."""
    replies = []
    for value in values:
        content = RecordDict({"arrays": pack_tensors({"value": value}), "metrics": MetricRecord({"num-examples": 1})})
        asked = Message(RecordDict({"config": ConfigRecord()}), 1, "train")
        replies.append(Message(content, reply_to=asked))
    arrays, _ = strategy.aggregate_train(1, replies)
    return unpack_tensors(arrays)["value"]


@pytest.mark.usefixtures("flower_run")
@pytest.mark.parametrize("scenarios", [1, 2, 3, 4, 5, 8])
def test_the_median_is_flowers(scenarios: int) -> None:
    values = drawn(scenarios, 3, 7, seed=scenarios)
    assert torch.equal(middle(values, "median"), flowers(FedMedian(), values))


@pytest.mark.usefixtures("flower_run")
@pytest.mark.parametrize("scenarios", [1, 2, 5, 9, 10, 15])
def test_the_trimmed_mean_is_flowers_where_flower_trims(scenarios: int) -> None:
    values = drawn(scenarios, 3, 7, seed=scenarios)
    torch.testing.assert_close(middle(values, "trimmed"), flowers(FedTrimmedAvg(beta=0.2), values))


def test_of_three_or_four_scenarios_the_trimmed_mean_leaves_out_one_at_each_end() -> None:
    assert middle(torch.tensor([1.0, 5.0, 1e30]), "trimmed").item() == 5.0
    assert middle(torch.tensor([-1e30, 5.0, 6.0, 7.0]), "trimmed").item() == 5.5


def test_the_mean_is_weighted_and_the_others_are_not() -> None:
    values, weights = drawn(4, 6, seed=1), torch.tensor([0.7, 0.1, 0.1, 0.1], dtype=torch.float64)
    assert torch.equal(average(values, weights, "mean"), weighted_mean(values, weights))
    for kind in ("median", "trimmed"):
        assert torch.equal(average(values, weights, kind), average(values, weights.flip(0), kind))


@pytest.mark.parametrize("kind", ["median", "trimmed"])
def test_counters_stay_whole_numbers(kind: AverageKind) -> None:
    found = average(torch.tensor([[3], [4], [2**40], [9]]), torch.full((4,), 0.25, dtype=torch.float64), kind)
    assert found.dtype == torch.int64
    assert found.tolist() == [6]  # 6.5, rounded to even


@pytest.mark.parametrize("kind", ["median", "trimmed"])
@given(
    honest=st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=7),
    odd=st.sampled_from([-1e30, -1.0, 0.0, 1e30]),
)
def test_one_odd_value_stays_within_the_others(kind: AverageKind, honest: list[float], odd: float) -> None:
    found = float(middle(torch.tensor([*honest, odd]), kind))
    assert min(honest) - 1e-3 <= found <= max(honest) + 1e-3


def touched(rows: list[int], values: list[float]) -> RowUpdate:
    return RowUpdate(torch.tensor(rows), torch.tensor(values).unsqueeze(1), torch.ones(len(rows), dtype=torch.int64))


UPDATES = [touched([0, 1, 2], [1.0, 1.0, 1.0]), touched([0, 1], [2.0, 3.0]), touched([0], [900.0]), touched([0], [4.0])]


def test_rows_are_averaged_over_those_that_touched_them() -> None:
    table = torch.tensor([[9.0], [9.0], [9.0], [9.0]])
    assert robust_rows(table, UPDATES, "median", untouched_count=False).flatten().tolist() == [3.0, 2.0, 1.0, 9.0]
    assert robust_rows(table, UPDATES, "trimmed", untouched_count=False).flatten().tolist() == [3.0, 2.0, 1.0, 9.0]
    assert table.flatten().tolist() == [9.0] * 4


def test_in_whole_tables_who_did_not_touch_a_row_counts_with_its_start() -> None:
    table = torch.tensor([[9.0], [9.0], [9.0], [9.0]])
    assert robust_rows(table, UPDATES, "median", untouched_count=True).flatten().tolist() == [3.0, 6.0, 9.0, 9.0]


def test_a_table_is_averaged_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = robust_rows(torch.zeros(4, 1), UPDATES, "median", untouched_count=False)
    monkeypatch.setattr("pfmsmtrec_flwr.aggregation.averages.ROWS_AT_ONCE", 3)
    assert torch.equal(robust_rows(torch.zeros(4, 1), UPDATES, "median", untouched_count=False), whole)


def test_of_two_scenarios_both_are_the_plain_mean() -> None:
    table, weights = drawn(4, 1, seed=3), torch.tensor([0.5, 0.5], dtype=torch.float64)
    for kind in ("median", "trimmed"):
        found = robust_rows(table, UPDATES[:2], kind, untouched_count=True)
        torch.testing.assert_close(found, average_tables(table, UPDATES[:2], weights))
