"""PF-MSMTrec: conflict coordination and personalized aggregation per expert, then the same for the task towers.

One communication round on the server, bottom-up (paper, "bottom-up joint learning"):

1. batch normalization does not travel, so nothing is done about it;
2. `coordinate` combines the scenarios' updates of each expert's component S; their cosines measure the agreement;
3. `personalize` adds the learned share α of the result, and pulls by μ to the consensus of the scenarios that agree;
4. embedding tables are averaged row by row over the scenarios that agree;
5. `aggregate_towers` attends across scenarios per task and layer, with the learned share β, and pulls by μ.

Each step takes and returns tensors, so that a subclass may override it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from pfmsmtrec_flwr.aggregation import conflict, consensus, personalized, towers
from pfmsmtrec_flwr.aggregation.agreement import Agreement
from pfmsmtrec_flwr.aggregation.conflict import Coordination
from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate, average_rows, use_weights
from pfmsmtrec_flwr.aggregation.experts import ExpertLayout
from pfmsmtrec_flwr.config import Fraction, MethodSettings, NotNegative, RunConfig
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Stage
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import Sharing, names_of
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.switches import switches
from pfmsmtrec_flwr.model import TOWER_PARTS, Part
from pfmsmtrec_flwr.training.records import Conflict, RoundCallback

LayerKey = tuple[str, int]
"""Task and layer of a tower."""

PAIRWISE_SCENARIOS = 16
"""Largest number of scenarios for which pairwise cosines are logged."""


class PFMSMTRecSettings(MethodSettings):
    """Settings of PF-MSMTrec."""

    conflict_radius: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """Radius c: distance of the coordinated update from the mean update, relative to the mean update's length."""
    expert_weight: Fraction = 0.5
    """Initial weight α of the coordinated expert update that a scenario receives."""
    tower_weight: Fraction = 0.5
    """Initial weight β of the attended tower update that a scenario receives."""
    hyper_lr: NotNegative = 0.1
    """Step of the hyper-gradient that learns α and β; 0 leaves them as they start."""
    interpolation: Fraction = 0.5
    """Weight μ of the consensus in each scenario's new parameters."""
    consensus: Literal["agreement", "examples"] = "agreement"
    """Scenarios in a consensus: those that agree, by the cosines of their updates so far, or all of them alike."""
    average_global: bool = True
    """Whether the template's global component G is averaged over the scenarios; otherwise it stays local."""
    gates: Literal["local", "federated"] = "local"
    """Whether gates stay local or are averaged."""
    normalization: Literal["local", "federated"] = "local"
    """Whether batch normalization stays local, as the method asks, or is averaged, to show what that is worth."""
    towers: Literal["attended", "local"] = "attended"
    """Whether the towers' updates are aggregated by cross-attention, or towers stay local."""
    output_bias: Literal["local", "federated"] = "local"
    """Whether the bias of a tower's last layer, which holds the scenario's base rate, stays local."""
    row_balance: Fraction = 0.0
    """Power to which a scenario's number of uses is raised to divide its uses of a row: 0 counts each use as one, 1
    gives small and large scenarios the same say; it acts where federation.tables is rows."""
    personalized_tables: bool = True
    """Whether each scenario has tables of its own, averaged over those that it agrees with, where federation.tables
    is rows; otherwise all share one."""
    schedule: Literal["fused", "bottom-up"] = "fused"
    """Exchanges of a round: one for experts and towers, or one for experts and then one for towers."""
    regularization: NotNegative = 0.0
    """Weight λ of the personalization regularizer, which pulls local training to the consensus; 0 turns it off."""


@dataclass(slots=True)
class Memory:
    """State of the server from one round to the next, from which the shares are learned.

    Attributes
    ----------
    alpha
        Share α of the coordinated update, by scenario, (E,).
    beta
        Share β of the attended tower update, by scenario and tower layer.
    received_experts
        U that each scenario received last, by scenario, (E, P); a scenario that missed a round has an older one.
    received_towers
        Attended update that each scenario received last, by scenario and tower layer, flat.
    conflict
        Cosines of the last updates.
    agreement
        Agreement of the scenarios, from all updates so far.
    """

    alpha: dict[str, Tensor] = field(default_factory=dict)
    beta: dict[tuple[str, LayerKey], Tensor] = field(default_factory=dict)
    received_experts: dict[str, Tensor] = field(default_factory=dict)
    received_towers: dict[tuple[str, LayerKey], Tensor] = field(default_factory=dict)
    conflict: Conflict | None = None
    agreement: Agreement = field(default_factory=Agreement)


class PFMSMTRec(ScenarioStrategy):
    """The server of PF-MSMTrec."""

    settings_type: type[PFMSMTRecSettings] = PFMSMTRecSettings
    """Class of the method's settings; a subclass that adds settings names its own, here and in its client."""

    def __init__(self, config: RunConfig, *, on_round: RoundCallback | None = None) -> None:
        super().__init__(config, on_round=on_round)
        self.settings = self.settings_of(config)
        self.memory = Memory()

    @classmethod
    def settings_of(cls, config: RunConfig) -> PFMSMTRecSettings:
        """Return the settings in force; a subclass with settings of its own translates them here."""
        return config.own(cls.settings_type)

    @classmethod
    def sharing_of(cls, config: RunConfig) -> Sharing:
        """Share S, towers and tables as each scenario's own, G and federated gates as common; T stays local."""
        settings = cls.settings_of(config)
        common: set[Part] = set()
        personal = {Part.EXPERT_SCENARIO}
        own_tables = settings.personalized_tables and config.federation.tables == "rows"
        (personal if own_tables else common).add(Part.FEDERATED_EMBEDDING)
        if settings.average_global:
            common.add(Part.EXPERT_GLOBAL)
        if settings.gates == "federated":
            common.add(Part.GATE)
        if settings.normalization == "federated":
            common |= {Part.NORMALIZATION, Part.TOWER_NORMALIZATION}
        if settings.towers == "attended":
            personal |= TOWER_PARTS if settings.output_bias == "federated" else {Part.TOWER}
        return Sharing(frozenset(common), frozenset(personal))

    @property
    def regularization(self) -> float:
        """Weight λ of the personalization regularizer."""
        return self.settings.regularization

    def stages(self) -> tuple[Stage, ...]:
        """Return one exchange per round if fused; one for experts and one for towers if bottom-up."""
        return (Stage.ALL,) if self.settings.schedule == "fused" else (Stage.EXPERTS, Stage.TOWERS)

    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:
        """Take the steps 2 to 5 of the round for which the stage has updates."""
        self.average_common(updates)
        if stage is not Stage.TOWERS:
            self._aggregate_experts(updates)
            self._aggregate_tables(updates)
        if stage is not Stage.EXPERTS:
            self._aggregate_all_towers(updates)

    # The steps, open to subclasses ----------------------------------------------------------------------------------

    def coordinate(self, updates: Tensor) -> Coordination:
        """Coordinate the scenarios' updates (K, E, P) of all experts."""
        return conflict.coordinate(updates, self.settings.conflict_radius)

    def personalize(self, end: Tensor, direction: Tensor, share: Tensor, weights: Tensor) -> Tensor:
        """Add to each scenario its share of the coordinated update, then pull it to its consensus.

        Parameters
        ----------
        end
            Parameters after local training (K, E, P).
        direction
            U (E, P).
        share
            α (K, E).
        weights
            Weights of the scenarios in each scenario's consensus (K, K), rows summing to one.
        """
        personal = personalized.personalize(end, direction, share)
        return consensus.pull_to_consensus(personal, weights, self.settings.interpolation)

    def aggregate_towers(self, start: Tensor, end: Tensor, share: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Aggregate one layer of one task's towers, over the scenarios that have the task.

        Parameters
        ----------
        start, end
            The layer's parameters before and after local training, flat, (K, d).
        share
            β (K,).
        weights
            Weights of the scenarios in each scenario's consensus (K, K), rows summing to one.

        Returns
        -------
        tuple
            The new parameters (K, d), and the attended updates before their weighting by β (K, d).
        """
        attended = towers.attend(end - start)
        personal = personalized.personalize(end.unsqueeze(1), attended.unsqueeze(1), share.unsqueeze(1)).squeeze(1)
        return consensus.pull_to_consensus(personal, weights, self.settings.interpolation), attended

    def aggregate_embeddings(self, table: Tensor, updates: Sequence[RowUpdate], weights: Tensor) -> Tensor:
        """Average one table that all scenarios share; `_aggregate_tables` averages each scenario's own."""
        if self.config.federation.tables == "rows":
            return average_rows(table, updates, use_weights(updates, self.settings.row_balance))
        return super().aggregate_embeddings(table, updates, weights)

    def shares(self) -> dict[str, dict[str, float]]:
        """Return each scenario's mean α over experts and mean β over tower layers."""
        means = {name: {"alpha": float(alpha.mean())} for name, alpha in self.memory.alpha.items()}
        for name in means:
            if own := [beta for (scenario, _), beta in self.memory.beta.items() if scenario == name]:
                means[name]["beta"] = float(torch.stack(own).mean())
        return means

    def conflict(self) -> Conflict | None:
        """Return the cosines between the scenarios' updates of each expert."""
        return self.memory.conflict

    # Around the steps ------------------------------------------------------------------------------------------------

    def _agreement(self, updates: Sequence[ScenarioUpdate]) -> Tensor:
        """Return the agreement of the scenarios (K, K); it is one for all if the consensus is by examples."""
        if self.settings.consensus == "examples":
            return torch.ones(len(updates), len(updates), dtype=torch.float64)
        return self.memory.agreement.among([update.scenario for update in updates])

    def _weights(self, updates: Sequence[ScenarioUpdate]) -> Tensor:
        examples = consensus.mixture_weights([update.examples for update in updates])
        return consensus.consensus_weights(examples, self._agreement(updates))

    def _aggregate_experts(self, updates: Sequence[ScenarioUpdate]) -> None:
        names = names_of(updates[0].slots, [Part.EXPERT_SCENARIO])
        layout = ExpertLayout.of({name: updates[0].end[name] for name in names})
        start = torch.stack([layout.flatten(update.start) for update in updates])  # (K, E, P)
        end = torch.stack([layout.flatten(update.end) for update in updates])
        if len(updates) > 1:  # a single scenario has nobody to coordinate with
            change = end - start
            share = self._learn_alpha(updates, change)
            coordination = self.coordinate(change)
            scenarios = [update.scenario for update in updates]
            self.memory.conflict = _conflict(scenarios, coordination.cosines)
            self.memory.agreement.add(scenarios, coordination.cosines)
            end = self.personalize(end, coordination.direction, share, self._weights(updates))
            self.memory.received_experts |= {update.scenario: coordination.direction for update in updates}
        for update, vectors in zip(updates, end, strict=True):
            self.parameters.personal[update.scenario] |= layout.unflatten(vectors)

    def _learn_alpha(self, updates: Sequence[ScenarioUpdate], change: Tensor) -> Tensor:
        """Return α (K, E), moved along its hyper-gradient if there was a round before."""
        initial = torch.full((change.shape[1],), self.settings.expert_weight)
        share = torch.stack([self.memory.alpha.get(update.scenario, initial) for update in updates])
        nothing = torch.zeros_like(change[0])
        received = torch.stack([self.memory.received_experts.get(update.scenario, nothing) for update in updates])
        share = personalized.learn_share(share, change, received, self.settings.hyper_lr)
        self.memory.alpha |= {update.scenario: alpha for update, alpha in zip(updates, share, strict=True)}
        return share

    def _aggregate_tables(self, updates: Sequence[ScenarioUpdate]) -> None:
        """Average each scenario's own tables over the scenarios that it agrees with, row by row."""
        if Part.FEDERATED_EMBEDDING not in self.sharing.personal:
            return
        agreement = self._agreement(updates)
        for name in dict.fromkeys(name for update in updates for name in update.rows):
            rows = [update.rows[name] for update in updates]
            counted = agreement * use_weights(rows, self.settings.row_balance)  # (K, K)
            for update, weights in zip(updates, counted, strict=True):
                self.parameters.personal[update.scenario][name] = average_rows(update.start[name], rows, weights)

    def _aggregate_all_towers(self, updates: Sequence[ScenarioUpdate]) -> None:
        layers = {
            (slot.task, slot.layer)
            for update in updates
            for slot in update.slots.values()
            if slot.part in self.sharing.personal & TOWER_PARTS and slot.task is not None
        }
        for task, layer in sorted(layers):
            self._aggregate_tower_layer((task, layer), updates)

    def _aggregate_tower_layer(self, key: LayerKey, updates: Sequence[ScenarioUpdate]) -> None:
        names = {update.scenario: _layer_names(update, key) for update in updates}
        owners = [update for update in updates if names[update.scenario]]
        start = torch.stack([_flat(update, names[update.scenario], at_start=True) for update in owners])  # (K, d)
        end = torch.stack([_flat(update, names[update.scenario], at_start=False) for update in owners])
        if len(owners) > 1:
            share = self._learn_beta(key, owners, end - start)
            end, attended = self.aggregate_towers(start, end, share, self._weights(owners))
            for update, received in zip(owners, attended, strict=True):
                self.memory.received_towers[update.scenario, key] = received
        for update, vector in zip(owners, end, strict=True):
            self.parameters.personal[update.scenario] |= _unflat(update, names[update.scenario], vector)

    def _learn_beta(self, key: LayerKey, owners: Sequence[ScenarioUpdate], change: Tensor) -> Tensor:
        """Return β (K,) of one tower layer, moved along its hyper-gradient if there was a round before."""
        initial = torch.tensor(self.settings.tower_weight)
        share = torch.stack([self.memory.beta.get((owner.scenario, key), initial) for owner in owners])
        nothing = torch.zeros_like(change[0])
        received = torch.stack([self.memory.received_towers.get((owner.scenario, key), nothing) for owner in owners])
        share = personalized.learn_share(
            share.unsqueeze(1), change.unsqueeze(1), received.unsqueeze(1), self.settings.hyper_lr
        ).squeeze(1)
        self.memory.beta |= {(owner.scenario, key): beta for owner, beta in zip(owners, share, strict=True)}
        return share


class PFMSMTRecClient(ScenarioClient):
    """The scenarios' side of PF-MSMTrec: local training with the personalization regularizer."""

    settings_type: type[PFMSMTRecSettings] = PFMSMTRecSettings
    """Class of the method's settings."""

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        super().__init__(store, config, state)
        self.settings = config.own(self.settings_type)

    @property
    def regularization(self) -> float:
        """Weight λ of the personalization regularizer."""
        return self.settings.regularization


def _conflict(scenarios: Sequence[str], cosines: Tensor) -> Conflict:
    """Return the logged part of the cosines (E, K, K): all of them for few scenarios, their means for many."""
    count = len(scenarios)
    mean = (cosines.sum(dim=(1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(dim=1)) / (count * (count - 1))
    if count > PAIRWISE_SCENARIOS:
        return Conflict((), mean.tolist(), ())
    return Conflict(tuple(scenarios), mean.tolist(), cosines.tolist())


def _layer_names(update: ScenarioUpdate, key: LayerKey) -> list[str]:
    return [
        name
        for name, slot in update.slots.items()
        if slot.part in TOWER_PARTS and (slot.task, slot.layer) == key and name in update.end
    ]


def _flat(update: ScenarioUpdate, names: Sequence[str], *, at_start: bool) -> Tensor:
    tensors = update.start if at_start else update.end
    return torch.cat([tensors[name].flatten() for name in names])


def _unflat(update: ScenarioUpdate, names: Sequence[str], vector: Tensor) -> dict[str, Tensor]:
    pieces = torch.split(vector, [update.end[name].numel() for name in names])
    return {name: piece.view_as(update.end[name]).clone() for name, piece in zip(names, pieces, strict=True)}


METHOD = FederatedMethod(
    name="pf-msmtrec",
    summary="conflict coordination and personalized aggregation per expert, then cross-attention of the towers",
    source="Ding et al., WSDM 2025 (arXiv 2406.18938); equations in docs/method.md",
    strategy=PFMSMTRec,
    client=PFMSMTRecClient,
    parameters="personalised",
    settings=PFMSMTRecSettings,
    space={"interpolation": (0.3, 0.5, 0.7), "expert_weight": (0.2, 0.5), "tower_weight": (0.2, 0.5)},
    switches=switches,
)
