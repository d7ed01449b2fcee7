"""Federated attentive message passing: scenarios with similar models are pulled together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pfmsmtrec_flwr.aggregation import attentive
from pfmsmtrec_flwr.config import MethodSettings, NotNegative, Positive, RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.memory import ClientMemory
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.client.trainer import Fitted
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Stage, Tensors
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import Sharing
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.model import TOWER_PARTS, Part
from pfmsmtrec_flwr.training.local import Anchor
from pfmsmtrec_flwr.training.records import RoundCallback

_OWN = "own"
_ATTENDED = frozenset({Part.EXPERT_GLOBAL, Part.EXPERT_SCENARIO, Part.GATE, *TOWER_PARTS})


class FedAMPSettings(MethodSettings):
    """Settings of FedAMP."""

    lam_over_alpha: NotNegative = 0.1
    """Weight λ/α of the pull of a scenario's model to the mixture that it received."""
    alpha: Positive = 1.0
    """Step α_k of the message passing between the scenarios' models."""
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
        weights = attentive.attention(attentive.squared_distances(vectors), self.settings.alpha, self.settings.sigma)
        for name in names:
            owners = [index for index, model in enumerate(models) if name in model]
            values = torch.stack([models[owner][name] for owner in owners])
            for owner, mixture in zip(owners, attentive.mix(values, attentive.among(weights, owners)), strict=True):
                self.parameters.personal[scenarios[owner]][name] = mixture


class FedAMPClient(ScenarioClient):
    """Continues with its own model w_k, pulled to the received mixture u_k.

    It minimises ``F_k(w) + λ / (2 * α_k) * ||w - u_k||^2``; ``lam_over_alpha`` is ``λ / α_k``. w_k stays on
    the scenario's disk, and it predicts.
    """

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        super().__init__(store, config, state)
        self.settings = config.own(FedAMPSettings)

    def restore_predictor(self, memory: ClientMemory) -> None:
        """Replace the mixture by w_k as the last exchange left it; before the first training both are the same."""
        self.restore(self.model, memory, _OWN)

    def anchors(self, incoming: Incoming) -> Sequence[Anchor]:
        """Pull the attended parameters to the mixture; the common tables are free."""
        mixture = self.received(Incoming({}, incoming.personal))
        return [Anchor(mixture, self.settings.lam_over_alpha)]

    def fit(self, order: Order, incoming: Incoming, memory: ClientMemory) -> Fitted:
        """Train w_k, and remember it, as the next message brings its mixture."""
        fitted = super().fit(order, incoming, memory)
        state = self.model.state_dict()
        own = ClientMemory(model={name: state[name] for name in incoming.personal.get(self.store.scenario, {})})
        return Fitted(fitted.report, fitted.memory.with_scope(_OWN, own))


METHOD = FederatedMethod(
    name="fedamp",
    summary="personal models, each pulled to a mixture of similar ones",
    source="Huang et al., AAAI 2021, section 3, algorithm 1",
    strategy=FedAMP,
    client=FedAMPClient,
    parameters="personalised",
    settings=FedAMPSettings,
    space={
        "lam_over_alpha": (0.001, 0.01, 0.1, 1.0),
        "alpha": (0.1, 0.5, 1.0),
        "sigma": (0.3, 1.0, 3.0),
    },
)
