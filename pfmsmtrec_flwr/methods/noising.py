"""Noise on the updates of a whole run: methods that cannot have it are refused, and its privacy loss is added up."""

from __future__ import annotations

from collections.abc import Iterable

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.server.accounting import privacy_loss
from pfmsmtrec_flwr.methods.base import FederatedMethod, Method
from pfmsmtrec_flwr.model import Part
from pfmsmtrec_flwr.results.schema import PrivacyResult
from pfmsmtrec_flwr.training.records import RoundRecord

_COUNTED = frozenset({Part.NORMALIZATION, Part.TOWER_NORMALIZATION})
"""Parts with statistics, which noise would turn into variances below zero."""


def require_noise(method: Method, own: RunConfig, start_from: str = "") -> None:
    """Refuse a method under a configuration whose noise would not cover all parameters that leave a scenario.

    Parameters
    ----------
    method
        Method to run.
    own
        Its own configuration.
    start_from
        Run from whose models the scenarios start; empty if they start anew.

    Raises
    ------
    UserError
        The message names the method and the reason.
    """
    if not own.privacy.noise:
        return
    refused = f"method '{method.name}' does not take privacy.noise"
    if not isinstance(method, FederatedMethod):
        raise UserError(f"{refused}: it trains on the rows of all scenarios in one place, so there is no update")
    if start_from:
        raise UserError(f"{refused} with --start-from: the parts of an earlier model would leave without noise")
    if own.federation.draws:
        raise UserError(
            f"{refused} with federation.draws={own.federation.draws}: draws are exact figures of groups of users; "
            "set federation.draws=0"
        )
    shared = method.strategy.sharing_of(own).parts
    if (counted := sorted(shared & _COUNTED)) and not own.train.reestimate_batch_norm:
        raise UserError(
            f"{refused}: it shares '{counted[0]}' with its statistics, which cannot have noise; choose a method that "
            "re-estimates them (train.reestimate_batch_norm), such as fedprox with fedprox.mu=0"
        )
    privacy_loss(own.privacy, 1)  # needs the accountant, before anything is trained


def noise_spent(method: Method, config: RunConfig, rounds: Iterable[RoundRecord]) -> PrivacyResult | None:
    """Return the privacy loss of a finished run of a method; None if no noised update left a scenario.

    Parameters
    ----------
    method, config
        Method and the run's configuration.
    rounds
        Records of the rounds.
    """
    settings = method.configure(config).privacy
    releases = sum(record.releases for record in rounds)
    if not settings.noise or not releases:
        return None
    return PrivacyResult(
        epsilon=privacy_loss(settings, releases),
        delta=settings.delta,
        noise=settings.noise,
        clip_norm=settings.clip_norm,
        releases=releases,
    )
