"""The parts of a scenario's model: what the methods say about sharing is said of parts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """Parts of a scenario's model."""

    LOCAL_EMBEDDING = "local embedding"
    FEDERATED_EMBEDDING = "federated embedding"
    EXPERT_GLOBAL = "expert, global shared"
    EXPERT_TASK = "expert, task-specific"
    EXPERT_SCENARIO = "expert, scenario-specific"
    GATE = "gate"
    TOWER = "tower"
    OUTPUT_BIAS = "tower, output bias"
    """Of a tower's last layer: it carries how frequent the task's label is."""
    NORMALIZATION = "normalization"
    """Of everything but the towers."""
    TOWER_NORMALIZATION = "tower, normalization"


TOWER_PARTS = frozenset({Part.TOWER, Part.OUTPUT_BIAS})
HEAD_PARTS = TOWER_PARTS | {Part.TOWER_NORMALIZATION}
"""What follows the experts."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor of a model.

    Attributes
    ----------
    name
        Its name in the model's state.
    part
        Where it belongs.
    task
        The task that a gate or a tower serves, else None.
    layer
        Position within its expert or tower, counted from 0 in the order of computation.
    """

    name: str
    part: Part
    task: str | None = None
    layer: int = 0
