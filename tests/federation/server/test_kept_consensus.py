from __future__ import annotations

import pytest
import torch

from pfmsmtrec_flwr.federation.protocol import Tensors
from pfmsmtrec_flwr.federation.server.kept_consensus import KeptConsensus


def of_round(number: int) -> Tensors:
    return {"w": torch.tensor(float(number))}


def test_the_consensus_of_each_selected_round_is_kept() -> None:
    kept = KeptConsensus()
    kept.keep(1, {"NL": 1, "US": 1}, lambda: of_round(1))
    kept.keep(2, {"NL": 1, "US": 2}, lambda: of_round(2))
    assert kept.by_scenario({"NL": 1, "US": 2}) == {"NL": of_round(1), "US": of_round(2)}


def test_a_round_that_nobody_has_selected_is_not_computed() -> None:
    kept = KeptConsensus()
    kept.keep(1, {"NL": 1}, lambda: of_round(1))
    kept.keep(2, {"NL": 1}, lambda: pytest.fail("computed"))
    assert kept.by_scenario({"NL": 1}) == {"NL": of_round(1)}


def test_a_round_that_is_selected_no_more_is_dropped() -> None:
    kept = KeptConsensus()
    kept.keep(1, {"NL": 1}, lambda: of_round(1))
    kept.keep(2, {"NL": 2}, lambda: of_round(2))
    assert kept.by_scenario({"NL": 1, "US": 2}) == {"NL": {}, "US": of_round(2)}
