"""Curves in a network give what they give outside of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pfmsmtrec_flwr.scoring.curve_layers import curve_layer
from pfmsmtrec_flwr.training.calibration import IsotonicCurve, PlattCurve, fit_isotonic

LOG_ODDS = np.linspace(-12, 12, 997, dtype=np.float32)
FITTED = fit_isotonic(LOG_ODDS, (np.random.default_rng(0).random(997) < 0.5 + LOG_ODDS / 30).astype(np.uint8))


@pytest.mark.parametrize(
    "curve",
    [
        PlattCurve(slope=0.3, intercept=-2.5),
        PlattCurve(slope=1.7, intercept=0.25),
        IsotonicCurve(log_odds=(-1.0, 0.5), probabilities=(0.1, 0.9)),
        IsotonicCurve(log_odds=(0.5,), probabilities=(0.25,)),
        FITTED,
    ],
)
def test_a_layer_gives_the_probabilities_of_its_curve(curve: PlattCurve | IsotonicCurve) -> None:
    found = curve_layer(curve)(torch.from_numpy(LOG_ODDS))
    np.testing.assert_allclose(found, curve.apply(LOG_ODDS), rtol=0, atol=2e-6)
