"""Privacy loss of noised updates, by the accountant of Flower.

A scenario's update is one number in a ball of the clipping norm C, before noise of standard deviation ``noise * C`` in
each coordinate. Training rows that are all others move it by at most 2 C, the diameter, so the loss is that of the
Gaussian mechanism with a noise of ``noise / 2`` per unit of sensitivity. Nothing is gained from sampling: a scenario
sends an update in every round.
"""

from __future__ import annotations

from pfmsmtrec_flwr.config import PrivacySettings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.flower_internals import gaussian_event


def privacy_loss(settings: PrivacySettings, releases: int) -> float:
    """Return ε at the settings' δ after a number of noised updates of a scenario, by Rényi differential privacy.

    Neighbours are any two sets of training rows of the scenario, so ε covers one user of it as well as all of them.

    Parameters
    ----------
    settings
        Noise and δ.
    releases
        Number of updates that a scenario sent, at least one.

    Raises
    ------
    UserError
        The package of the accountant is not installed.
    """
    from flwr.serverapp import NeighboringRelation, PrivacyConfig, RdpAccountant, SamplingMethod

    accounted = PrivacyConfig(
        target_delta=settings.delta,
        population_size=1,
        neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE,
        sampling_method=SamplingMethod.NO_AMPLIFICATION,
    )
    try:
        accountant = RdpAccountant(accounted)
    except ImportError:
        raise UserError("privacy.noise needs an accountant: pip install 'pfmsmtrec-flwr[dp]' on the server") from None
    accountant.compose(gaussian_event(settings.noise / 2), releases)
    return accountant.get_epsilon(settings.delta)
