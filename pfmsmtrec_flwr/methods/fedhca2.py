"""FedHCA²: conflict-averse aggregation of encoders, cross-attention between decoders, learned shares of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pfmsmtrec_flwr.federation.protocol import Tensors
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.pf_msmtrec import PFMSMTRec
from pfmsmtrec_flwr.model import Part


class FedHCA2(PFMSMTRec):
    """The server of FedHCA²: PF-MSMTrec's, but a scenario's experts are one encoder.

    Conflicts are coordinated, and the share alpha_s of a scenario is learned, for all of its experts together rather
    than for each; there is no template and no pull to a consensus. The towers are the decoders, attended to layer by
    layer, with a share beta of each. The step of the shares is PF-MSMTrec's, by the cosine.
    """

    def _aggregate_experts(self, updates: Sequence[ScenarioUpdate]) -> None:
        names = names_of(updates[0].slots, [Part.EXPERT_SCENARIO])
        super()._aggregate_experts([_with_one_encoder(update, names) for update in updates])
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
    settings={
        "model.template": "none",
        "train.consensus_weight": 0.0,
        "aggregation.schedule": "fused",
        "aggregation.pull": 0.0,
        "aggregation.gates": "local",
        "aggregation.normalization": "local",
        "aggregation.towers": "attended",
        "aggregation.output_bias": "federated",
        "aggregation.consensus": "examples",
        "aggregation.personal_embeddings": False,
        "aggregation.row_balance": 0.0,
    },
    space={
        "aggregation.conflict_radius": (0.2, 0.4, 0.6),
        "aggregation.alpha": (0.1, 0.5),
        "aggregation.beta": (0.1, 0.5),
    },
)
