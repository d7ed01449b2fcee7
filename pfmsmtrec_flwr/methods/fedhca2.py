"""FedHCA²: conflict-averse aggregation of encoders, cross-attention between decoders, learned shares of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from pfmsmtrec_flwr.config import Fraction, MethodSettings, NotNegative, RunConfig
from pfmsmtrec_flwr.federation.protocol import Tensors
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import Sharing, names_of
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.coordinated import CoordinatedStrategy, ShareRule
from pfmsmtrec_flwr.model import TOWER_PARTS, Part


class FedHCA2Settings(MethodSettings):
    """Settings of FedHCA²."""

    conflict_radius: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """Radius c: distance of the coordinated update from the mean update, relative to the mean update's length."""
    alpha: Fraction = 0.5
    """Initial share α of the coordinated encoder update that a scenario receives."""
    beta: Fraction = 0.5
    """Initial share β of the attended decoder update that a scenario receives."""
    hyper_lr: NotNegative = 0.1
    """Step of the hyper-gradient that learns α and β; 0 leaves them as they start."""


class FedHCA2(CoordinatedStrategy):
    """The server of FedHCA²: a scenario's experts are one encoder, its towers are the decoders.

    Conflicts are coordinated and the share α of a scenario is learned for all of its experts together. Attention runs
    over the towers layer by layer, with a learned share β of each. The shares are learned by the cosine, as in
    PF-MSMTrec.
    """

    @classmethod
    def rule_of(cls, config: RunConfig) -> ShareRule:
        """Return the method's settings."""
        own = config.own(FedHCA2Settings)
        return ShareRule(radius=own.conflict_radius, alpha=own.alpha, beta=own.beta, hyper_lr=own.hyper_lr)

    @classmethod
    def sharing_of(cls, config: RunConfig) -> Sharing:  # noqa: ARG003 - the same for every configuration
        """Share experts and towers as each scenario's own, and the tables as common."""
        return Sharing(
            common=frozenset({Part.FEDERATED_EMBEDDING}), personal=frozenset({Part.EXPERT_SCENARIO, *TOWER_PARTS})
        )

    def aggregate_experts(self, updates: Sequence[ScenarioUpdate]) -> None:
        """Coordinate and personalize all experts of a scenario together."""
        names = names_of(updates[0].slots, [Part.EXPERT_SCENARIO])
        super().aggregate_experts([_with_one_encoder(update, names) for update in updates])
        for update in updates:
            personal = self.parameters.personal[update.scenario]
            personal |= {name: personal[name].squeeze(0) for name in names}


def _with_one_encoder(update: ScenarioUpdate, names: Sequence[str]) -> ScenarioUpdate:
    """Return the update with the experts' axis (E, ...) inside a single expert's tensors (1, E, ...)."""

    def grouped(tensors: Tensors) -> Tensors:
        return tensors | {name: tensors[name].unsqueeze(0) for name in names}

    return replace(update, start=grouped(update.start), end=grouped(update.end))


METHOD = FederatedMethod(
    name="fedhca2",
    summary="conflict-averse aggregation of whole encoders, cross-attention of decoders, learned shares",
    source="Lu et al., CVPR 2024 (arXiv 2311.13250), section 3",
    strategy=FedHCA2,
    parameters="personalised",
    settings=FedHCA2Settings,
    fixed={"model.template": "none"},
    space={"conflict_radius": (0.2, 0.4, 0.6), "alpha": (0.1, 0.5), "beta": (0.1, 0.5)},
)
