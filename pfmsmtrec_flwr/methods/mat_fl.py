"""MaT-FL: the bodies of scenarios that deviate from the mean in similar directions are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pfmsmtrec_flwr.aggregation.attentive import mix
from pfmsmtrec_flwr.aggregation.grouping import group_weights, weights_among
from pfmsmtrec_flwr.config import Fraction, MethodSettings, RunConfig
from pfmsmtrec_flwr.federation.protocol import Stage
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate, stack
from pfmsmtrec_flwr.federation.sharing import Sharing, names_of
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.model import Part
from pfmsmtrec_flwr.training.records import RoundCallback

_BODY = frozenset({Part.EXPERT, Part.GATE, Part.NORMALIZATION})


class MaTFLSettings(MethodSettings):
    """Settings of MaT-FL."""

    threshold: Fraction = 0.0
    """Constant added to the cosines of two scenarios' deviations from the mean model: at 0, only scenarios that deviate
    in similar directions share; at 1, all but opposed ones."""


class MaTFL(ScenarioStrategy):
    """The server of MaT-FL, as in its authors' code (github.com/VITA-Group/MaT-FL, soft grouping).

    The backbone is what lies below the towers, as in FedPer: experts, gates and normalization with its statistics. It
    is averaged anew in each round, for each scenario with weights of its own, which rows do not enter. Counters of
    batches stay each scenario's own. Towers never travel. Embedding tables arrive as touched rows, which differ between
    scenarios, and are averaged as in every other method here.
    """

    def __init__(self, config: RunConfig, *, on_round: RoundCallback | None = None) -> None:
        super().__init__(config, on_round=on_round)
        self.settings = config.own(MaTFLSettings)

    @classmethod
    def sharing_of(cls, config: RunConfig) -> Sharing:  # noqa: ARG003 - the same for every configuration
        """Share the body as each scenario's own, and the tables as common."""
        return Sharing(common=frozenset({Part.FEDERATED_EMBEDDING}), personal=_BODY)

    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:  # noqa: ARG002 - one stage only
        """Average the tables, and each scenario's body with those of its group."""
        self.average_common(updates)
        sent = [names_of(update.slots, self.sharing.personal) for update in updates]
        names = dict.fromkeys(name for own in sent for name in own)
        owners = {name: [index for index, own in enumerate(sent) if name in own] for name in names}
        floating = [name for name, own in owners.items() if updates[own[0]].end[name].is_floating_point()]
        everywhere = [name for name in floating if len(owners[name]) == len(updates)]
        models = torch.cat([stack(updates, name).flatten(1) for name in everywhere], dim=1)  # (K, P)
        weights = group_weights(models, self.settings.threshold)
        for name in names:
            having = [updates[owner] for owner in owners[name]]
            values = stack(having, name)
            if name in floating:
                values = mix(values, weights_among(weights, owners[name]))
            for update, value in zip(having, values, strict=True):
                self.parameters.personal[update.scenario][name] = value


METHOD = FederatedMethod(
    name="mat-fl",
    summary="personal bodies, averaged over scenarios that deviate alike from the mean; towers kept local",
    source="Cai et al., CVPR Workshops 2023, and code (github.com/VITA-Group/MaT-FL)",
    strategy=MaTFL,
    parameters="personalised",
    settings=MaTFLSettings,
    space={"threshold": (0.0, 0.25, 0.5, 1.0)},
)
