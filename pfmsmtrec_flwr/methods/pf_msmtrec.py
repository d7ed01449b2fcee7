"""PF-MSMTrec: conflict coordination and personalized aggregation per expert, then the same for the task towers.

One communication round on the server, bottom-up (paper, "bottom-up joint learning"):

1. batch normalization does not travel, so nothing is done about it;
2. `coordinate` combines the scenarios' updates of each expert, G + S, into U; their cosines measure the agreement;
3. `personalize` moves G by U and each scenario's S by its learned share α of U, and `regularize` takes the proximal
   step of the personalization regularizer towards the consensus of the scenarios that agree;
4. `attend` mixes the towers' updates per task and layer by the agreement, each scenario adds its learned share β of its
   mixture, and `regularize` follows;
5. embedding tables are averaged row by row over the scenarios that agree.

Each step takes and returns tensors, so that a subclass may override it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from pfmsmtrec_flwr.aggregation import consensus, towers
from pfmsmtrec_flwr.aggregation.agreement import Agreement
from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate, average_rows, use_weights
from pfmsmtrec_flwr.config import Fraction, MethodSettings, NotNegative, Positive, RunConfig, Settings
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming, Stage
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import Sharing, names_of
from pfmsmtrec_flwr.methods.base import FederatedMethod, Range
from pfmsmtrec_flwr.methods.coordinated import CoordinatedStrategy, ShareRule
from pfmsmtrec_flwr.methods.switches import switches
from pfmsmtrec_flwr.model import TOWER_PARTS, Part
from pfmsmtrec_flwr.training.local import Anchor
from pfmsmtrec_flwr.training.records import RoundCallback


class PFMSMTRecSettings(MethodSettings):
    """Settings of PF-MSMTrec."""

    conflict_radius: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """Radius c: distance of the coordinated update from the mean update, relative to the mean update's length."""
    expert_weight: Fraction = 0.5
    """Initial weight α of the coordinated expert update that a scenario receives; 0 turns it off."""
    tower_weight: Fraction = 0.5
    """Initial weight β of the attended tower update that a scenario receives; 0 turns it off."""
    hyper_lr: NotNegative = 0.1
    """Step of the hyper-gradient that learns α and β; 0 leaves them as they start."""
    template: Literal["additive", "hadamard", "none"] = "additive"
    """Composition of the experts' weights: G + S + T, (G + S) * (1 + T), or none: plain experts without G and T."""
    task_layers: Literal["last", "all"] = "last"
    """Layers of an expert with task-specific components T."""
    task_decay: NotNegative = 10.0
    """Decay of T towards zero, per unit of the learning rate: T stays within one over this value."""
    attention_temperature: Positive = 0.2
    """Temperature τ of the attention between towers."""
    regularization: NotNegative = 1.0
    """Weight λ of the personalization regularizer: after a round a scenario keeps 1 / (1 + λ) of its deviation from
    those that it agrees with."""
    consensus: Literal["agreement", "examples"] = "agreement"
    """Scenarios in a consensus: those that agree, by the cosines of their updates so far, or all of them alike."""
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
    is rows and consensus is agreement; otherwise all share one."""
    schedule: Literal["fused", "bottom-up"] = "fused"
    """Exchanges of a round: one for experts and towers, or one for experts and then one for towers."""

    @property
    def pull(self) -> float:
        """Weight μ = λ / (1 + λ) of the consensus in a scenario's new parameters."""
        return self.regularization / (1.0 + self.regularization)

    def implied(self) -> Settings:
        """Return the common settings that the template sets."""
        return {"model.template": self.template, "model.task_layers": self.task_layers}


class PFMSMTRec(CoordinatedStrategy):
    """The server of PF-MSMTrec.

    Attributes
    ----------
    agreement
        Agreement of the scenarios, from all updates so far.
    """

    settings_type: type[PFMSMTRecSettings] = PFMSMTRecSettings
    """Class of the method's settings; a subclass that adds settings names its own, here and in its client."""
    remembers = (*CoordinatedStrategy.remembers, "agreement")

    def __init__(self, config: RunConfig, *, on_round: RoundCallback | None = None) -> None:
        super().__init__(config, on_round=on_round)
        self.settings = config.own(self.settings_type)
        self.agreement = Agreement(repeats=config.train.optimizer_state == "reset")

    @classmethod
    def rule_of(cls, config: RunConfig) -> ShareRule:
        """Return the method's settings of the coordination and of the shares."""
        settings = config.own(cls.settings_type)
        return ShareRule(
            radius=settings.conflict_radius,
            alpha=settings.expert_weight,
            beta=settings.tower_weight,
            hyper_lr=settings.hyper_lr,
        )

    @classmethod
    def sharing_of(cls, config: RunConfig) -> Sharing:
        """Share experts (G + S), towers and tables as each scenario's own, federated gates as common; T stays local."""
        settings = config.own(cls.settings_type)
        common: set[Part] = set()
        personal = {Part.EXPERT}
        # with one consensus for all, the scenarios' own tables would all be the same
        differ = settings.personalized_tables and settings.consensus == "agreement"
        own_tables = differ and config.federation.tables == "rows"
        (personal if own_tables else common).add(Part.FEDERATED_EMBEDDING)
        if settings.gates == "federated":
            common.add(Part.GATE)
        if settings.normalization == "federated":
            common |= {Part.NORMALIZATION, Part.TOWER_NORMALIZATION}
        if settings.towers == "attended":
            personal |= TOWER_PARTS if settings.output_bias == "federated" else {Part.TOWER}
        return Sharing(frozenset(common), frozenset(personal))

    def stages(self) -> tuple[Stage, ...]:
        """Return one exchange per round if fused; one for experts and one for towers if bottom-up."""
        return (Stage.ALL,) if self.settings.schedule == "fused" else (Stage.EXPERTS, Stage.TOWERS)

    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:
        """Take the steps 2 to 5 of the round for which the stage has updates."""
        super().aggregate(stage, updates)
        if stage is not Stage.TOWERS:
            self._aggregate_tables(updates)

    def personalize(self, end: Tensor, direction: Tensor, share: Tensor) -> Tensor:
        """Move G by U and each scenario's S by its share of U; both are in the parameters (K, E, P)."""
        step_of_global = 0.0 if self.settings.template == "none" else 1.0
        return super().personalize(end, direction, step_of_global + share)

    def regularize(self, updates: Sequence[ScenarioUpdate], values: Tensor) -> Tensor:
        """Take the proximal step of the personalization regularizer on the values (K, ...) of all scenarios."""
        examples = consensus.mixture_weights([update.examples for update in updates])
        weights = consensus.consensus_weights(examples, self._agreement(updates))
        return consensus.pull_to_consensus(values, weights, self.settings.pull)

    def attend(self, owners: Sequence[ScenarioUpdate], change: Tensor) -> tuple[Tensor, Tensor]:
        """Attend to the changes (K, d) of one tower layer by the scenarios' agreement, at the temperature τ."""
        return towers.attend_by_similarity(change, self._agreement(owners), self.settings.attention_temperature)

    def observe(self, updates: Sequence[ScenarioUpdate], change: Tensor, cosines: Tensor) -> None:
        """Keep the cosines for the round's record, and learn the agreement from the changes and their cosines."""
        super().observe(updates, change, cosines)
        self.agreement.add([update.scenario for update in updates], change, cosines)

    def aggregate_embeddings(self, table: Tensor, updates: Sequence[RowUpdate], weights: Tensor) -> Tensor:
        """Average one table that all scenarios share; `_aggregate_tables` averages each scenario's own."""
        if self.config.federation.tables == "rows" and self.config.federation.average == "mean":
            return average_rows(table, updates, use_weights(updates, self.settings.row_balance))
        return super().aggregate_embeddings(table, updates, weights)

    def _agreement(self, updates: Sequence[ScenarioUpdate]) -> Tensor:
        """Return the agreement of the scenarios (K, K); it is one for all if the consensus is by examples."""
        if self.settings.consensus == "examples":
            return torch.ones(len(updates), len(updates), dtype=torch.float64)
        return self.agreement.among([update.scenario for update in updates])

    def _aggregate_tables(self, updates: Sequence[ScenarioUpdate]) -> None:
        """Average each scenario's own tables over the scenarios that it agrees with, row by row."""
        if Part.FEDERATED_EMBEDDING not in self.sharing.personal:
            return
        agreement = self._agreement(updates)
        for name in dict.fromkeys(name for update in updates for name in update.rows):
            rows = [update.rows[name] for update in updates]
            counted = agreement * use_weights(rows, self.settings.row_balance)  # (K, K)
            touched = {update.scenario: own for update, own in zip(updates, rows, strict=True)}
            self.parameters.average_own_tables(name, touched, counted)


class PFMSMTRecClient(ScenarioClient):
    """The scenarios' side of PF-MSMTrec: local training in which the task-specific components T decay."""

    settings_type: type[PFMSMTRecSettings] = PFMSMTRecSettings
    """Class of the method's settings."""
    moves_used_rows_alone = True

    def __init__(self, store: ScenarioStore, config: RunConfig, state: LocalState) -> None:
        super().__init__(store, config, state)
        self.settings = config.own(self.settings_type)

    def anchors(self, incoming: Incoming) -> Sequence[Anchor]:  # noqa: ARG002 - the anchors are known here
        """Return zero as the value that the task-specific components T decay to."""
        own = dict(self.model.named_parameters())
        neutral = {name: torch.zeros_like(own[name]) for name in names_of(self.slots, [Part.EXPERT_TASK])}
        return [Anchor(neutral, self.settings.task_decay)]


METHOD = FederatedMethod(
    name="pf-msmtrec",
    summary="conflict coordination and personalized aggregation per expert, then cross-attention of the towers",
    source="Ding et al., WSDM 2025 (arXiv 2406.18938); equations in docs/method.md",
    strategy=PFMSMTRec,
    client=PFMSMTRecClient,
    parameters="personalised",
    settings=PFMSMTRecSettings,
    space={
        "regularization": Range(0.1, 10.0, log=True),
        "conflict_radius": (0.2, 0.4),
        "expert_weight": (0.2, 0.5),
        "tower_weight": (0.2, 0.5),
        "task_decay": (3.0, 10.0, 30.0),
        "gates": ("local", "federated"),
    },
    switches=switches,
)
