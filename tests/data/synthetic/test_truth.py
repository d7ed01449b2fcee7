"""The truth: conflicts lower the correlations that they should."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import raw_impressions, small, true_logits

from pfmsmtrec_flwr.data.synthetic.truth import mixed_readouts, side
from pfmsmtrec_flwr.data.synthetic.world import World

CONFLICTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize(("other", "factor"), [("US", 0.5), ("ES", 1.5)])
def test_conflict_of_scenarios_lowers_the_correlation_of_their_truths(other: str, factor: float) -> None:
    assert (side("NL") == side(other)) == (factor == 0.5)
    found = []
    for conflict in CONFLICTS:
        settings = small(train_rows={"NL": 1000, other: 1000}, scenario_conflict=conflict)
        inputs = raw_impressions(settings, "NL", 20_000)
        first, second = (true_logits(settings, name, inputs) for name in ("NL", other))
        found.append([np.corrcoef(first[:, task], second[:, task])[0, 1] for task in range(2)])
    correlations = np.array(found)
    np.testing.assert_allclose(correlations[0], 1, atol=1e-5)
    assert (np.diff(correlations, axis=0) < -0.02).all()
    expected = 1 - factor * np.array(CONFLICTS)
    np.testing.assert_allclose(correlations[:, 0], expected, atol=0.2)  # exact on the reference impressions


def test_conflict_of_tasks_lowers_the_correlation_of_click_and_conversion() -> None:
    correlations = []
    for conflict in CONFLICTS:
        settings = small(task_conflict=conflict)
        logits = true_logits(settings, "NL", raw_impressions(settings, "NL", 20_000))
        correlations.append(np.atleast_2d(np.corrcoef(logits.T))[0, 1])
    assert correlations[0] == pytest.approx(1, abs=1e-5)
    assert (np.diff(correlations) < -0.02).all()
    assert correlations[-1] < 0


def test_readouts_correlate_as_documented_on_the_reference_impressions() -> None:
    settings = small(scenario_conflict=0.4, task_conflict=0.2)
    world = World.of(0)
    readouts = [mixed_readouts(world, settings, name) for name in ("NL", "ES")]
    both = np.concatenate(readouts, axis=1)
    correlation = both.T @ world.covariance @ both
    np.testing.assert_allclose(np.diag(correlation), 1, atol=1e-6)
    assert correlation[0, 1] == pytest.approx(1 - 1.5 * 0.2, abs=1e-6)  # click and conversion of NL
    assert correlation[0, 2] == pytest.approx(1 - 1.5 * 0.4, abs=0.15)  # own parts are drawn apart, not orthogonal
