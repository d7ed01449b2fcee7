from __future__ import annotations

import math
import sys

import pytest
from scipy.stats import norm

from pfmsmtrec_flwr.config import PrivacySettings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.server.accounting import privacy_loss


def exact_delta(epsilon: float, mu: float) -> float:
    """δ of a Gaussian mechanism whose sensitivity is mu standard deviations (Balle and Wang, ICML 2018, theorem 8)."""
    return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu))


@pytest.mark.parametrize(("noise", "releases"), [(8.0, 1), (8.0, 12), (20.0, 12), (50.0, 200)])
def test_the_loss_bounds_the_exact_one_of_rows_that_are_all_others(noise: float, releases: int) -> None:
    settings = PrivacySettings(noise=noise, delta=1e-5)
    epsilon = privacy_loss(settings, releases)
    mu = 2 * math.sqrt(releases) / noise  # two clipped updates are up to twice the norm apart, in every release
    assert exact_delta(epsilon, mu) <= 1e-5
    assert exact_delta(0.8 * epsilon, mu) > 1e-5  # and the bound is not far from it


def test_more_updates_cost_more_and_more_noise_costs_less() -> None:
    losses = [privacy_loss(PrivacySettings(noise=8.0), releases) for releases in (1, 2, 12)]
    assert losses == sorted(losses)
    assert privacy_loss(PrivacySettings(noise=16.0), 12) < losses[-1]


def test_without_the_accountant_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(UserError, match=r"^privacy\.noise needs an accountant: pip install 'pfmsmtrec-flwr\[dp\]'"):
        privacy_loss(PrivacySettings(noise=1.0), 1)
