"""The server that FedHCA² and PF-MSMTrec share: coordinated updates of experts, attended updates of towers.

One round: `coordinate` combines the scenarios' updates of each expert, and `personalize` adds each scenario's share α
of the result; per task and layer, `attend` mixes the updates of the towers, and each scenario adds its share β of its
mixture. From the second round on, `learn_share` moves a scenario's shares by what its next update makes of what it
received. `regularize` may pull what results. Each step takes and returns tensors, so that a subclass may override it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation import conflict, personalized, towers
from pfmsmtrec_flwr.aggregation.averages import middle
from pfmsmtrec_flwr.aggregation.conflict import Coordination
from pfmsmtrec_flwr.aggregation.experts import ExpertLayout
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.protocol import Stage, Tensors
from pfmsmtrec_flwr.federation.server.strategy import ScenarioStrategy
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.methods.tower_attention import PAIRWISE_SCENARIOS, LayerKey, TowerAttention
from pfmsmtrec_flwr.model import TOWER_PARTS, Part
from pfmsmtrec_flwr.training.records import Attention, Conflict, RoundCallback

Key = TypeVar("Key", bound=Hashable)

VALUES_AT_ONCE = 1 << 22
"""Number of parameters, of all scenarios together, beyond which experts are personalized one after the other."""


@dataclass(frozen=True, slots=True)
class ShareRule:
    """Numbers that the coordination, and the learning of the shares, depend on.

    Attributes
    ----------
    radius
        Radius c of the coordination.
    alpha
        Initial share α of the coordinated expert update; 0 turns the share off.
    beta
        Initial share β of the attended tower update; 0 turns the share off.
    hyper_lr
        Step of the hyper-gradient that learns α and β.
    """

    radius: float
    alpha: float
    beta: float
    hyper_lr: float


@dataclass(slots=True)
class Memory:
    """State of the server from one round to the next, from which the shares are learned.

    Attributes
    ----------
    alpha
        Share α of the coordinated update, by scenario, (E,).
    beta
        Share β of the attended tower update, by scenario and tower layer, (1,).
    received_experts
        U that each scenario received last, by scenario, (E, P); a scenario that missed a round has an older one.
    received_towers
        Attended update that each scenario received last, by scenario and tower layer, (1, d).
    conflict
        Cosines of the last updates.
    attention
        Attention of the last updates of the towers.
    """

    alpha: dict[str, Tensor] = field(default_factory=dict)
    beta: dict[tuple[str, Hashable], Tensor] = field(default_factory=dict)
    received_experts: dict[str, Tensor] = field(default_factory=dict)
    received_towers: dict[tuple[str, Hashable], Tensor] = field(default_factory=dict)
    conflict: Conflict | None = None
    attention: TowerAttention = field(default_factory=TowerAttention)

    def shares(self) -> dict[str, dict[str, float]]:
        """Return the means of each scenario's shares that are learned, clipped to [0, 1]."""
        means = {name: {"alpha": _mean([alpha])} for name, alpha in self.alpha.items()}
        betas: dict[str, list[Tensor]] = {}
        for (name, _), beta in self.beta.items():
            betas.setdefault(name, []).append(beta)
        for name, own in betas.items():
            means.setdefault(name, {})["beta"] = _mean(own)
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return all of it, for a checkpoint."""
        conflict = None if self.conflict is None else asdict(self.conflict)
        kept = {name: getattr(self, name) for name in _LEARNED}
        return kept | {"conflict": conflict, "attention": self.attention.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for name in _LEARNED:
            setattr(self, name, dict(state[name]))
        self.conflict = None if state["conflict"] is None else Conflict(**state["conflict"])
        self.attention.load_state_dict(state["attention"])


_LEARNED = ("alpha", "beta", "received_experts", "received_towers")


class CoordinatedStrategy(ScenarioStrategy):
    """The server's side of a method that coordinates experts, attends across towers and learns the shares of both.

    Attributes
    ----------
    rule
        Numbers of the coordination and of the shares.
    memory
        State from one round to the next.
    """

    remembers: ClassVar[tuple[str, ...]] = ("memory",)

    def __init__(self, config: RunConfig, *, on_round: RoundCallback | None = None) -> None:
        super().__init__(config, on_round=on_round)
        self.rule, self.memory = self.rule_of(config), Memory()

    @classmethod
    @abstractmethod
    def rule_of(cls, config: RunConfig) -> ShareRule:
        """Return the numbers of the coordination and of the shares under a configuration."""

    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:
        """Average the common parts, then aggregate the experts and the towers for which the stage has updates."""
        self.average_common(updates)
        if stage is not Stage.TOWERS:
            self.aggregate_experts(updates)
        if stage is not Stage.EXPERTS:
            self.aggregate_all_towers(updates)

    # The steps, open to subclasses ----------------------------------------------------------------------------------

    def expert_layout(self, update: ScenarioUpdate) -> ExpertLayout:
        """Return the layout of the tensors that are coordinated: here those of each expert."""
        return ExpertLayout.of({name: update.end[name] for name in names_of(update.slots, [Part.EXPERT])})

    def coordinate(self, updates: Tensor) -> Coordination:
        """Coordinate the scenarios' updates (K, E, P) of all experts, around the average that the settings ask for."""
        kind = self.config.federation.average
        centre = None if kind == "mean" else middle(updates, kind)
        return conflict.coordinate(updates, self.rule.radius, centre)

    def personalize(self, end: Tensor, direction: Tensor, share: Tensor) -> Tensor:
        """Add to each scenario its share of the coordinated update.

        Parameters
        ----------
        end
            Parameters after local training (K, E, P).
        direction
            U (E, P).
        share
            α (K, E).
        """
        return personalized.personalize(end, direction, share)

    def attend(self, owners: Sequence[ScenarioUpdate], change: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Mix the changes (K, d) of one tower layer over the K scenarios that have the task, the owners.

        Returns
        -------
        tuple
            Each scenario's mixture (K, d), and the weight of each scenario's change in it (K, K).
        """
        return towers.attend_by_products(change)

    def regularize(self, updates: Sequence[ScenarioUpdate], values: Tensor) -> Tensor:  # noqa: ARG002 - for subclasses
        """Return the scenarios' new values (K, ...) as they are to be sent; here unchanged.

        Parameters
        ----------
        updates
            Updates of the K scenarios that the values belong to.
        values
            Values after the shares of other scenarios' updates were added.
        """
        return values

    def learn_share(self, keys: Sequence[Hashable], share: Tensor, change: Tensor, received: Tensor) -> Tensor:  # noqa: ARG002
        """Return the shares (K, E) after a step along their hyper-gradient.

        Parameters
        ----------
        keys
            Names of the K rows of shares, for a subclass that remembers more of them.
        share
            Shares so far (K, E).
        change
            Updates of the scenarios in this round (K, E, P).
        received
            Directions that the shares weighted before (K, E, P); zero for a scenario that has received none.
        """
        return personalized.learn_share(share, change, received, self.rule.hyper_lr)

    def observe(self, updates: Sequence[ScenarioUpdate], change: Tensor, cosines: Tensor) -> None:  # noqa: ARG002
        """Keep what the round's record needs of the experts' updates; a subclass may learn from them.

        Parameters
        ----------
        updates
            Updates of the K scenarios that reported.
        change
            Change of each scenario's experts (K, E, P).
        cosines
            Cosines between the changes, for each expert (E, K, K).
        """
        self.memory.conflict = _conflict([update.scenario for update in updates], cosines)

    def shares(self) -> dict[str, dict[str, float]]:
        """Return each scenario's mean α over experts and mean β over tower layers, clipped to [0, 1], unless off."""
        return self.memory.shares()

    def conflict(self) -> Conflict | None:
        """Return the cosines between the scenarios' updates of each expert."""
        return self.memory.conflict

    def attention(self) -> dict[str, Attention]:
        """Return the attention between the scenarios' towers, by task."""
        return self.memory.attention.by_task()

    # Around the steps ------------------------------------------------------------------------------------------------

    def aggregate_experts(self, updates: Sequence[ScenarioUpdate]) -> None:
        """Coordinate and personalize the experts; a single scenario has nobody to coordinate with."""
        layout = self.expert_layout(updates[0])
        if len(updates) == 1:
            (only,) = updates
            self.parameters.personal[only.scenario].update({name: only.end[name] for name, _ in layout.shapes})
            return
        change = _changes(layout, updates)  # (K, E, P)
        scenarios = [update.scenario for update in updates]
        share = self.learned(self.memory.alpha, self.memory.received_experts, scenarios, self.rule.alpha, change)
        coordination = self.coordinate(change)
        self.observe(updates, change, coordination.cosines)
        after = [layout.empty(change.dtype) for _ in updates]
        for some in _experts_at_once(change):
            personal = self.personalize(_ends(layout, updates, some), coordination.direction[some], share[:, some])
            _fill(layout, after, self.regularize(updates, personal), some)
            del personal  # before the next experts take as much
        self.memory.received_experts |= dict.fromkeys(scenarios, coordination.direction)
        for scenario, tensors in zip(scenarios, after, strict=True):
            self.parameters.personal[scenario].update(tensors)

    def aggregate_all_towers(self, updates: Sequence[ScenarioUpdate]) -> None:
        """Aggregate the towers, task by task and layer by layer."""
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
        start = torch.stack([_flat(update.start, names[update.scenario]) for update in owners])  # (K, d)
        end = torch.stack([_flat(update.end, names[update.scenario]) for update in owners])
        if len(owners) > 1:
            keys: list[tuple[str, Hashable]] = [(owner.scenario, key) for owner in owners]
            received = self.memory.received_towers
            share = self.learned(self.memory.beta, received, keys, self.rule.beta, (end - start).unsqueeze(1))
            attended, weights = self.attend(owners, end - start)
            self.memory.attention.keep(key, [owner.scenario for owner in owners], weights)
            personal = personalized.personalize(end.unsqueeze(1), attended.unsqueeze(1), share)
            end = self.regularize(owners, personal.squeeze(1))
            received |= zip(keys, attended.unsqueeze(1), strict=True)
        for update, vector in zip(owners, end, strict=True):
            self.parameters.personal[update.scenario].update(_unflat(update.end, names[update.scenario], vector))

    def learned(
        self,
        shares: dict[Key, Tensor],
        received: Mapping[Key, Tensor],
        keys: Sequence[Key],
        initial: float,
        change: Tensor,
    ) -> Tensor:
        """Return the shares (K, E) to use now, moved by `learn_share`, and remember them.

        Parameters
        ----------
        shares, received
            Shares (E,) and received directions (E, P) so far, by key.
        keys
            Keys of the K updates.
        initial
            Share that starts where there is none yet; 0 turns the share off.
        change
            Updates (K, E, P).
        """
        if not initial:
            return change.new_zeros(change.shape[:2])
        before = _received(received, keys, change)
        share = torch.stack([shares.get(key, torch.full((change.shape[1],), initial)) for key in keys])
        share = self.learn_share(keys, share, change, before)
        shares |= zip(keys, share, strict=True)
        return share


def _changes(layout: ExpertLayout, updates: Sequence[ScenarioUpdate]) -> Tensor:
    """Return the changes of the experts of all scenarios (K, E, P)."""
    changes = _ends(layout, updates, slice(None))
    for own, update in zip(changes, updates, strict=True):
        own.sub_(layout.flatten(update.start))
    return changes


def _ends(layout: ExpertLayout, updates: Sequence[ScenarioUpdate], some: slice) -> Tensor:
    """Return some experts of all scenarios after training (K, ..., P), copied once."""
    first = layout.flatten(updates[0].end, some)
    ends = first.new_empty((len(updates), *first.shape))
    for own, update in zip(ends, updates, strict=True):
        own.copy_(layout.flatten(update.end, some))
    return ends


def _fill(layout: ExpertLayout, sets: Sequence[Tensors], values: Tensor, some: slice) -> None:
    """Copy the values (K, ..., P) of some experts into the tensors of all scenarios."""
    for tensors, vectors in zip(sets, values, strict=True):
        layout.fill(tensors, vectors, some)


def _experts_at_once(values: Tensor) -> Iterator[slice]:
    """Yield the experts of values (K, E, P) that are personalized at once: the fewer, the more scenarios there are."""
    at_once = max(1, VALUES_AT_ONCE // values[:, 0].numel())
    for first in range(0, values.shape[1], at_once):
        yield slice(first, first + at_once)


def _received(received: Mapping[Key, Tensor], keys: Sequence[Key], change: Tensor) -> Tensor:
    """Return what each scenario received last (K, E, P), or zero; it takes no memory where all received the same."""
    nothing = torch.zeros_like(change[0])
    own = [received.get(key, nothing) for key in keys]
    if all(each is own[0] for each in own):
        return own[0].expand_as(change)
    return torch.stack(own)


def _conflict(scenarios: Sequence[str], cosines: Tensor) -> Conflict:
    """Return the logged part of the cosines (E, K, K): all of them for few scenarios, their means for many."""
    count = len(scenarios)
    mean = (cosines.sum(dim=(1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(dim=1)) / (count * (count - 1))
    if count > PAIRWISE_SCENARIOS:
        return Conflict((), mean.tolist(), ())
    return Conflict(tuple(scenarios), mean.tolist(), cosines.tolist())


def _mean(shares: Sequence[Tensor]) -> float:
    return float(torch.stack(list(shares)).clamp(0.0, 1.0).mean())


def _layer_names(update: ScenarioUpdate, key: LayerKey) -> list[str]:
    return [
        name
        for name, slot in update.slots.items()
        if slot.part in TOWER_PARTS and (slot.task, slot.layer) == key and name in update.end
    ]


def _flat(tensors: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    return torch.cat([tensors[name].flatten() for name in names])


def _unflat(tensors: Tensors, names: Sequence[str], vector: Tensor) -> Tensors:
    """Return the tensors whose values lie one after the other in a vector, in the shapes of the ones of these names."""
    pieces = torch.split(vector, [tensors[name].numel() for name in names])
    return {name: piece.view_as(tensors[name]).clone() for name, piece in zip(names, pieces, strict=True)}
