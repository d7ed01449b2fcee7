"""The result that Flower's callers read: metrics of every round, beside the project's own records."""

from __future__ import annotations

from pathlib import Path

import pytest
from federated import Tiny


def test_flowers_result_has_losses_and_scores_of_every_round(tiny: Tiny, tmp_path: Path) -> None:
    result = tiny.train(tiny.config("fedavg"), tmp_path).result
    assert [record.round for record in result.rounds] == [1, 2]
    for record in result.rounds:
        assert dict(result.train_metrics_clientapp[record.round]) == record.losses
        scores = {name: record.score(name) for name in record.validation}
        assert dict(result.evaluate_metrics_clientapp[record.round]) == pytest.approx(scores)
    assert result.train_metrics_clientapp.keys() == result.evaluate_metrics_clientapp.keys() == {1, 2}
    assert result.arrays.keys() > {"federated_embeddings.weight"}
