"""One model of the pooled rows of all scenarios, which a federation may not see."""

from __future__ import annotations

from functools import partial

from pfmsmtrec_flwr.central.pooled import train_pooled
from pfmsmtrec_flwr.methods.architectures import AITM, M3OE, MMOE, PEPNET, PLE, SHARED_BOTTOM, STAR, STEM, Architecture
from pfmsmtrec_flwr.methods.base import CentralMethod

_CONTINUOUS = {"train.optimizer_state": "keep"}


def _pooled(architecture: Architecture) -> CentralMethod:
    return CentralMethod(
        name=f"pooled-{architecture.name}",
        summary=f"one model of the pooled rows: {architecture.summary}",
        source=architecture.source,
        family="pooled",
        parameters="global",
        fixed={**architecture.fixed, **_CONTINUOUS},
        space=architecture.space,
        train=train_pooled,
    )


_SHARED_IDS = CentralMethod(
    name="pooled-mmoe-shared-ids",
    summary="pooled-mmoe that knows a person again in another scenario: the upper mark",
    source=MMOE.source,
    family="pooled",
    parameters="global",
    fixed={**MMOE.fixed, **_CONTINUOUS},
    train=partial(train_pooled, identities="shared"),
)

METHODS = (
    *(_pooled(architecture) for architecture in (SHARED_BOTTOM, MMOE, PLE, AITM, STAR, PEPNET, STEM, M3OE)),
    _SHARED_IDS,
)
