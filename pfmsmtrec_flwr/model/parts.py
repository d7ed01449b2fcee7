"""The parts of a scenario's model, by which methods say what is shared.

Examples
--------
>>> from pfmsmtrec_flwr.model.parts import HEAD_PARTS, Part
>>> sorted(part.value for part in HEAD_PARTS)
['tower', 'tower, normalization', 'tower, output bias']
>>> Part.GATE in HEAD_PARTS
False
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """Parts of a scenario's model."""

    LOCAL_EMBEDDING = "local embedding"
    FEDERATED_EMBEDDING = "federated embedding"
    EXPERT = "expert"
    """Experts' weights without their task-specific components: G + S of the template."""
    EXPERT_TASK = "expert, task-specific"
    """Task-specific components T of the experts' weights, which never leave their scenario."""
    GATE = "gate"
    TOWER = "tower"
    OUTPUT_BIAS = "tower, output bias"
    """Bias of a tower's last layer, which carries the base rate of the task."""
    NORMALIZATION = "normalization"
    """Normalization of everything but the towers."""
    TOWER_NORMALIZATION = "tower, normalization"


TOWER_PARTS = frozenset({Part.TOWER, Part.OUTPUT_BIAS})
HEAD_PARTS = TOWER_PARTS | {Part.TOWER_NORMALIZATION}
"""Parts of the layers that follow the experts."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor of a model.

    Attributes
    ----------
    name
        Name of the tensor in the model's state.
    part
        Part that the tensor belongs to.
    task
        Task that a gate or a tower serves; None for other parts.
    layer
        Position within its expert or tower, counted from 0 in the order of computation.
    statistic
        Whether the tensor is a statistic of normalization, which is counted and not learned.
    """

    name: str
    part: Part
    task: str | None = None
    layer: int = 0
    statistic: bool = False
