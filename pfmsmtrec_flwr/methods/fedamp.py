"""Federated attentive message passing: scenarios with similar models are pulled together.

FedAMP (Huang et al., AAAI 2021, algorithm 1) keeps a model w_k of each scenario on the server and sends each a mixture
u_k of all of them, which favours models near to w_k. Scenario k minimises
``F_k(w) + λ / (2 * α) * ||w - u_k||^2`` from w_k on.

What differs: the paper's step α of the message passing, which has to be small, follows from the smallest weight of a
scenario's own model in its mixture (`aggregation.attentive.attention`). HeurFedAMP, the paper's variant for deep
networks, has such a weight for a setting; we keep FedAMP's distances and their symmetric attention. λ / α is one
setting, since nothing else depends on λ. The pull takes a step of its own after the optimiser's
(`training.objective.pull_to_anchors`), as inside Adam its weight would not be λ / α.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from pfmsmtrec_flwr.aggregation import attentive
from pfmsmtrec_flwr.config import MethodSettings, NotNegative, Positive, RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming, Stage, Tensors
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import Sharing
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.own_model import OwnModelClient
from pfmsmtrec_flwr.model import TOWER_PARTS, Part
from pfmsmtrec_flwr.training.records import RoundCallback

_ATTENDED = frozenset({Part.EXPERT, Part.GATE, *TOWER_PARTS})


class FedAMPSettings(MethodSettings):
    """Settings of FedAMP."""

    lam_over_alpha: NotNegative = 10.0
    """Weight λ/α of the pull of a scenario's model to the mixture that it received; steps are as FedProx's."""
    self_weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Smallest weight of a scenario's own model in its mixture; 1 leaves it no other."""
    sigma: Positive = 1.0
    """Width σ of the attention, relative to the mean squared distance between the scenarios' models."""


class FedAMP(ScenarioStrategy):
    """The server of FedAMP: it keeps the last model w_k of each scenario, and sends each scenario a mixture u_k.

    Attention runs over experts, gates and towers. Embedding tables arrive as touched rows, which differ between
    scenarios, and are averaged as in every other method here. The template's T, which belongs to the tasks of one
    scenario, and normalization, whose statistics are no parameters, stay local.

    Attributes
    ----------
    models
        w_k by scenario.
    """

    remembers = ("models",)

    def __init__(self, config: RunConfig, *, on_round: RoundCallback | None = None) -> None:
        super().__init__(config, on_round=on_round)
        self.settings = config.own(FedAMPSettings)
        self.models: dict[str, Tensors] = {}

    @classmethod
    def sharing_of(cls, config: RunConfig) -> Sharing:  # noqa: ARG003
        """Share the attended parts as each scenario's own mixture, and the tables as common."""
        return Sharing(common=frozenset({Part.FEDERATED_EMBEDDING}), personal=_ATTENDED)

    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:  # noqa: ARG002 - one stage only
        """Average the tables, and mix the models by their distances in the parameters that all scenarios have."""
        self.average_common(updates)
        self.models |= {update.scenario: update.end for update in updates}
        scenarios = sorted(self.models)
        models = [self.models[scenario] for scenario in scenarios]
        names = dict.fromkeys(name for model in models for name in model)
        everywhere = [name for name in names if all(name in model for model in models)]
        vectors = torch.stack([torch.cat([model[name].flatten() for name in everywhere]) for model in models])  # (K, P)
        weights = attentive.attention(
            attentive.squared_distances(vectors), self.settings.self_weight, self.settings.sigma
        )
        for name in names:
            owners = [index for index, model in enumerate(models) if name in model]
            values = torch.stack([models[owner][name] for owner in owners])
            for owner, mixture in zip(owners, attentive.mix(values, attentive.among(weights, owners)), strict=True):
                self.parameters.personal[scenarios[owner]][name] = mixture


class FedAMPClient(OwnModelClient):
    """Goes on with its own model w_k, whose attended parts are pulled to the received mixture; tables are common."""

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        super().__init__(store, config, state)
        self.settings = config.own(FedAMPSettings)

    @property
    def pull(self) -> float:
        """λ / α."""
        return self.settings.lam_over_alpha

    def targets(self, incoming: Incoming) -> Incoming:
        """Return the mixture, without the tables."""
        return Incoming({}, incoming.personal)


METHOD = FederatedMethod(
    name="fedamp",
    summary="personal models, each pulled to a mixture of similar ones",
    source="Huang et al., AAAI 2021, algorithm 1",
    strategy=FedAMP,
    client=FedAMPClient,
    parameters="personalised",
    settings=FedAMPSettings,
    space={
        "lam_over_alpha": (3.0, 10.0, 30.0),
        "self_weight": (0.2, 0.5, 0.8),
        "sigma": (0.3, 1.0, 3.0),
    },
)
