"""Settings of small made-up scenarios, and what tests look at in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pfmsmtrec_flwr.data.arrays import Floats
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.data.synthetic.impressions import Habits, Impressions, draw_impressions
from pfmsmtrec_flwr.data.synthetic.settings import SyntheticSettings
from pfmsmtrec_flwr.data.synthetic.truth import Truth
from pfmsmtrec_flwr.data.synthetic.world import World
from pfmsmtrec_flwr.validation import parse


def small(**changes: Any) -> SyntheticSettings:
    """Return the settings of NL and US, with some of them changed."""
    document: dict[str, Any] = {
        "train_rows": {"NL": 3000, "US": 1000},
        "validation_rows": 500,
        "test_rows": 1500,
        "ctr": 0.2,
    }
    return parse(SyntheticSettings, document | changes, "test")


def assert_same(first: Split, second: Split) -> None:
    """Compare all arrays of two splits."""
    for name in ("categorical", "numeric", "labels", "users", "probabilities"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def raw_impressions(settings: SyntheticSettings, scenario: str, rows: int) -> Impressions:
    """Draw impressions of a scenario, before standardisation."""
    population = World.of(settings.seed).population
    habits = Habits.of(population, settings.seed, scenario)
    return draw_impressions(population, habits, rows, (settings.seed, scenario, "raw"))


def true_logits(settings: SyntheticSettings, scenario: str, rows: Impressions) -> Floats:
    """Return a scenario's true logits (n, 2) of impressions, whichever scenario they are from."""
    world = World.of(settings.seed)
    return Truth.of(world, Habits.of(world.population, settings.seed, scenario), settings, scenario).logits(rows)
