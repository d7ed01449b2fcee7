"""FedHCA²: conflict-averse aggregation of encoders, cross-attention between all decoders, learned shares of both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from pfmsmtrec_flwr.aggregation import personalized, towers
from pfmsmtrec_flwr.aggregation.experts import ExpertLayout
from pfmsmtrec_flwr.config import Fraction, MethodSettings, NotNegative, RunConfig
from pfmsmtrec_flwr.federation.protocol import Stage, Tensors
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import Sharing, names_of
from pfmsmtrec_flwr.methods.base import FederatedMethod
from pfmsmtrec_flwr.methods.coordinated import CoordinatedStrategy, ShareRule
from pfmsmtrec_flwr.model import Part, Slot
from pfmsmtrec_flwr.training.records import RoundCallback

_ENCODER = frozenset({Part.EXPERT, Part.NORMALIZATION})
_DECODER = frozenset({Part.GATE, Part.TOWER, Part.TOWER_NORMALIZATION})


class FedHCA2Settings(MethodSettings):
    """Settings of FedHCA²."""

    conflict_radius: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """Radius c: distance of the coordinated update from the mean update, relative to the mean update's length."""
    alpha: Fraction = 0.1
    """Initial share α of the coordinated encoder update that a scenario receives."""
    beta: Fraction = 0.1
    """Initial share β of the attended decoder update that a scenario receives."""
    hyper_lr: NotNegative = 0.01
    """Step of the gradient descent that learns α and β; 0 leaves them as they start."""
    hyper_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of the gradient descent that learns α and β."""
    hyper_decay: NotNegative = 0.0001
    """Weight decay of the gradient descent that learns α and β."""


class FedHCA2(CoordinatedStrategy):
    """The server of FedHCA², as in its authors' code (github.com/innovator-zero/FedHCA2).

    The encoder is what serves all tasks: the experts and their normalization, as one vector with one share α. The
    decoder of a task is its gate and the hidden layers of its tower, normalization included. All decoders of all
    scenarios and tasks attend to each other, tensor by tensor; a layer's tensors have one share β. Normalization
    statistics and output layers, which are the heads of the paper, stay each scenario's own. Embedding tables are
    averaged as in every other method here. Every scenario has data of its own, so no two clients are homogeneous and
    their updates are not averaged beforehand.

    Attributes
    ----------
    velocity
        Velocity of each share, by the share's key.
    """

    remembers = (*CoordinatedStrategy.remembers, "velocity")

    def __init__(self, config: RunConfig, *, on_round: RoundCallback | None = None) -> None:
        super().__init__(config, on_round=on_round)
        self.settings = config.own(FedHCA2Settings)
        self.velocity: dict[Hashable, Tensor] = {}

    @classmethod
    def rule_of(cls, config: RunConfig) -> ShareRule:
        """Return the method's settings of the coordination and of the shares."""
        own = config.own(FedHCA2Settings)
        return ShareRule(radius=own.conflict_radius, alpha=own.alpha, beta=own.beta, hyper_lr=own.hyper_lr)

    @classmethod
    def sharing_of(cls, config: RunConfig) -> Sharing:  # noqa: ARG003 - the same for every configuration
        """Share encoders and decoders as each scenario's own, and the tables as common."""
        return Sharing(common=frozenset({Part.FEDERATED_EMBEDDING}), personal=_ENCODER | _DECODER)

    def aggregate(self, stage: Stage, updates: Sequence[ScenarioUpdate]) -> None:
        """Leave to each scenario what it sent, then aggregate encoders and decoders."""
        for update in updates:
            own = names_of(update.slots, self.sharing.personal)
            self.parameters.personal[update.scenario].update({name: update.end[name] for name in own})
        super().aggregate(stage, updates)

    def expert_layout(self, update: ScenarioUpdate) -> ExpertLayout:
        """Return the layout of the encoder, which is one vector without statistics."""
        names = [name for name in names_of(update.slots, _ENCODER) if not update.slots[name].statistic]
        return ExpertLayout.of({name: update.end[name] for name in names}, experts=1)

    def personalize(self, end: Tensor, direction: Tensor, share: Tensor) -> Tensor:
        """Add the share of the coordinated update, clipped to [0, 1]."""
        return super().personalize(end, direction, share.clamp(0.0, 1.0))

    def learn_share(self, keys: Sequence[Hashable], share: Tensor, change: Tensor, received: Tensor) -> Tensor:
        """Return the shares after a step of gradient descent with momentum, not clipped."""
        velocity = torch.stack([self.velocity.get(key, torch.zeros_like(share[0])) for key in keys])
        share, velocity = personalized.descend_share(
            share,
            velocity,
            change,
            received,
            lr=self.rule.hyper_lr,
            momentum=self.settings.hyper_momentum,
            decay=self.settings.hyper_decay,
        )
        self.velocity |= zip(keys, velocity, strict=True)
        return share

    def aggregate_all_towers(self, updates: Sequence[ScenarioUpdate]) -> None:
        """Let all decoders attend to each other, and add each layer's share β of what it attended to."""
        if len(updates) < 2:  # a single scenario has nobody to attend to
            return
        attended = _attended(updates)
        for update in updates:
            own = attended[update.scenario]
            for layer in dict.fromkeys(_layer(name) for name in own):
                self._add_attended(update, layer, {name: own[name] for name in own if _layer(name) == layer})

    def _add_attended(self, update: ScenarioUpdate, layer: str, attended: Tensors) -> None:
        key: tuple[str, Hashable] = (update.scenario, layer)
        received = self.memory.received_towers
        change = torch.cat([(update.end[name] - update.start[name]).flatten() for name in attended])
        share = self.learned(self.memory.beta, received, [key], self.rule.beta, change.view(1, 1, -1))
        received[key] = torch.cat([tensor.flatten() for tensor in attended.values()]).view(1, -1)
        self.parameters.personal[update.scenario].update(
            {name: update.end[name] + share.clamp(0.0, 1.0).squeeze() * tensor for name, tensor in attended.items()}
        )


def _attended(updates: Sequence[ScenarioUpdate]) -> dict[str, Tensors]:
    """Return the attended update of each tensor of the decoders, by scenario and name."""
    members: dict[tuple[str, torch.Size], list[tuple[ScenarioUpdate, str]]] = defaultdict(list)
    for update in updates:
        for name, place in _decoder_places(update.slots).items():
            members[place, update.end[name].shape].append((update, name))
    attended: dict[str, Tensors] = {update.scenario: {} for update in updates}
    for (_, shape), tensors in members.items():
        changes = torch.stack([(update.end[name] - update.start[name]).flatten() for update, name in tensors])
        for (update, name), mixed in zip(tensors, towers.attend_by_products(changes)[0], strict=True):
            attended[update.scenario][name] = mixed.view(shape)
    return attended


def _decoder_places(slots: Mapping[str, Slot]) -> dict[str, str]:
    """Return the place within its decoder, the same for all tasks, of each tensor of the decoders, by name."""
    heads = {(slot.task, slot.layer) for slot in slots.values() if slot.part is Part.OUTPUT_BIAS}
    return {
        name: name.replace(f".{slot.task}.", ".", 1)
        for name, slot in slots.items()
        if slot.part in _DECODER and slot.task is not None and not slot.statistic
        if slot.part is not Part.TOWER or (slot.task, slot.layer) not in heads
    }


def _layer(name: str) -> str:
    """Return the name of the layer that a tensor belongs to."""
    return name.rpartition(".")[0]


METHOD = FederatedMethod(
    name="fedhca2",
    summary="conflict-averse aggregation of whole encoders, cross-attention of all decoders, learned shares",
    source="Lu et al., CVPR 2024 (arXiv 2311.13250), section 3, and code (github.com/innovator-zero/FedHCA2)",
    strategy=FedHCA2,
    parameters="personalised",
    settings=FedHCA2Settings,
    space={
        "conflict_radius": (0.2, 0.4, 0.6),
        "alpha": (0.1, 0.5),
        "beta": (0.1, 0.5),
        "hyper_lr": (0.01, 0.1),
    },
)
