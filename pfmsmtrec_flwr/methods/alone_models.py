"""Every scenario trains alone, with models of other architectures than `alone`'s."""

from __future__ import annotations

from pfmsmtrec_flwr.methods.alone import Alone
from pfmsmtrec_flwr.methods.architectures import AITM, ESMM, PLE, SHARED_BOTTOM, SINGLE_TASK, Architecture
from pfmsmtrec_flwr.methods.base import FederatedMethod


def _alone(architecture: Architecture) -> FederatedMethod:
    return FederatedMethod(
        name=f"alone-{architecture.name}",
        summary=f"each scenario trains its own model: {architecture.summary}",
        source=architecture.source,
        family="alone",
        parameters="personalised",
        fixed=architecture.fixed,
        space=architecture.space,
        strategy=Alone,
    )


METHODS = tuple(_alone(architecture) for architecture in (SINGLE_TASK, SHARED_BOTTOM, PLE, AITM, ESMM))
