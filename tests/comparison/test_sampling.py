from __future__ import annotations

import importlib.util

import pytest

from pfmsmtrec_flwr.comparison import sampling
from pfmsmtrec_flwr.comparison.sampling import Outcome, Proposals, check_sampler
from pfmsmtrec_flwr.config import Settings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods.base import Range, Space

SPACE: Space = {"train.lr": Range(0.001, 0.016, log=True), "model.dropout": Range(0.0, 0.5)}
OWN: Settings = {"train.lr": 0.00123, "model.dropout": 0.25}


def test_the_configuration_comes_first_and_exactly() -> None:
    assert Proposals(SPACE, OWN, 0).ask() == OWN


def test_the_same_outcomes_lead_to_the_same_proposals() -> None:
    made = []
    for _ in range(2):
        proposals = Proposals(SPACE, OWN, 5)
        settings = [proposals.ask() for _ in range(2)]
        for number in range(20):
            outcome = (Outcome(0.5 + 0.01 * number), Outcome(0.4, 1), Outcome(0.3, 0), Outcome(None))[number % 4]
            proposals.tell(settings[-2], outcome)
            settings.append(proposals.ask())
        made.append(settings)
    assert made[0] == made[1]
    assert len({tuple(each.values()) for each in made[0]}) == 22


def test_trials_that_were_cut_short_are_worse_than_whole_ones() -> None:
    """The sampler stays away from settings whose trials are cut short, whatever their scores."""
    proposals = Proposals({"model.dropout": Range(0.0, 0.5)}, {"model.dropout": 0.25}, 0)
    low = 0
    for number in range(40):
        dropout = proposals.ask()["model.dropout"]
        assert isinstance(dropout, float)
        low += number >= 20 and dropout < 0.25
        proposals.tell({"model.dropout": dropout}, Outcome(0.5) if dropout < 0.25 else Outcome(0.9, 1))
    assert low > 12  # half of the proposals would be 10 of 20


def test_tuning_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    check_sampler()
    monkeypatch.setattr(
        sampling, "find_spec", lambda name: None if name == "optuna" else importlib.util.find_spec(name)
    )
    with pytest.raises(UserError, match=r"^tuning needs optuna: pip install 'pfmsmtrec-flwr\[compare\]'$"):
        check_sampler()
