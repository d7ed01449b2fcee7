"""The bound on one scenario's influence: what a reply counts for once it has been admitted.

Each part of a scenario's update is shortened to a multiple of the median length, and what weights the update, its
examples and its uses of rows, counts up to what the scenario registered at the start. docs/method.md, 3.0, states what
follows for the others.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.clipping import capped_counts, clip_factors
from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.config import TrainSettings
from pfmsmtrec_flwr.federation.client.client import TOWER_STEPS
from pfmsmtrec_flwr.federation.protocol import Stage, Tensors
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.model import HEAD_PARTS, Part
from pfmsmtrec_flwr.training.description import Description
from pfmsmtrec_flwr.training.local import local_batch_size, local_steps

Group = tuple[Hashable, ...]
"""Name of a part of the model that is shortened by one factor: an expert, a tower, a table, the running means."""
_VARIANCE = "running_var"


@dataclass(frozen=True, slots=True)
class Allowance:
    """Largest numbers that a scenario's update may count for in one exchange, by what it registered.

    Attributes
    ----------
    steps
        Number of steps of training.
    examples
        Largest number of training rows.
    row_ends
        End of each federated field's rows in the stacked table (F,).
    uses
        Largest number of uses of each federated field's rows (F,).
    """

    steps: int
    examples: int
    row_ends: Tensor
    uses: Tensor

    @classmethod
    def of(cls, description: Description, train: TrainSettings, stage: Stage) -> Allowance:
        """Return what a described scenario may count for at a stage."""
        rows = description.used_rows
        passes = max(1, math.ceil(train.local_epochs))
        steps, examples = local_steps(rows, train), rows * passes
        if stage is Stage.TOWERS:
            steps, examples = TOWER_STEPS, TOWER_STEPS * (local_batch_size(rows, train) + 1)
        fields = [field for field in description.spec().fields if field.federated]
        ends = list(accumulate(field.rows for field in fields))
        return cls(steps, examples, torch.tensor(ends), torch.tensor([field.most * examples for field in fields]))


def bound_updates(
    updates: Sequence[ScenarioUpdate],
    scenarios: Mapping[str, Description],
    train: TrainSettings,
    stage: Stage,
    multiple: float,
    *,
    noisy: bool = False,
) -> list[ScenarioUpdate]:
    """Return the updates as they count; an update within its bounds is returned as it is.

    Parameters
    ----------
    updates
        Admitted updates.
    scenarios
        Descriptions that the scenarios registered, by name.
    train
        Settings of local training, from which the number of steps follows.
    stage
        Part of the round that the exchange served.
    multiple
        Largest norm, in medians over the scenarios, see `clip_factors`; 0 shortens nothing.
    noisy
        Whether updates have noise (``privacy.noise``), whose length does not grow with the number of steps.
    """
    allowances = [Allowance.of(scenarios[update.scenario], train, stage) for update in updates]
    counted = [_capped(update, allowance) for update, allowance in zip(updates, allowances, strict=True)]
    if not multiple or len(updates) < 2:
        return counted
    lengths = [_lengths(update) for update in counted]
    factors: list[dict[Group, float]] = [{} for _ in counted]
    for group in dict.fromkeys(group for own in lengths for group in own):
        owners = [index for index, own in enumerate(lengths) if group in own]
        norms = torch.tensor([lengths[owner][group] for owner in owners], dtype=torch.float64)
        steps = [1 if noisy else allowances[owner].steps for owner in owners]
        shortened = clip_factors(norms, steps, multiple)
        for owner, factor in zip(owners, shortened.tolist(), strict=True):
            if factor < 1.0:
                factors[owner][group] = factor
    return [_shortened(update, own) if own else update for update, own in zip(counted, factors, strict=True)]


def _capped(update: ScenarioUpdate, allowance: Allowance) -> ScenarioUpdate:
    """Return an update whose examples and uses of rows are within its allowance, and whose variances are not negative.

    The variances of a mean are then not negative either, and nobody's normalization takes the root of one that is.
    """
    rows = {}
    for name, own in update.rows.items():
        counts = capped_counts(own.rows, own.counts, allowance.row_ends, allowance.uses)
        rows[name] = replace(own, counts=counts)
    end = {name: value.clamp(min=0) if name.endswith(_VARIANCE) else value for name, value in update.end.items()}
    return replace(update, examples=min(update.examples, allowance.examples), end=end, rows=rows)


def _groups(update: ScenarioUpdate) -> dict[str, Group]:
    """Return the group of each tensor that is not a table; the first axis of experts' tensors tells these apart."""
    groups: dict[str, Group] = {}
    for name, value in update.end.items():
        slot = update.slots[name]
        if not value.is_floating_point():
            continue  # counters of batches, which nothing reads
        if slot.statistic:
            groups[name] = ("statistic", name.rpartition(".")[2])
        elif slot.part in HEAD_PARTS:
            groups[name] = ("tower", slot.task)
        else:
            groups[name] = (slot.part.value, slot.task)
    return groups


def _experts(update: ScenarioUpdate) -> int:
    """Return the number of experts on the first axis of all tensors of experts; 0 if they have no such axis."""
    lengths = {update.end[name].shape[0] for name in names_of(update.slots, [Part.EXPERT]) if name in update.end}
    return lengths.pop() if len(lengths) == 1 else 0


def _lengths(update: ScenarioUpdate) -> dict[Group, float]:
    """Return the norm of each group's change."""
    squares: dict[Group, float] = {}
    experts = _experts(update)
    for name, group in _groups(update).items():
        change = update.end[name].double() - update.start[name].double()
        if experts and update.slots[name].part is Part.EXPERT:
            of_experts = change.flatten(1).square().sum(dim=1).tolist()
            own = {(*group, expert): square for expert, square in enumerate(of_experts)}
        else:
            own = {group: float(change.square().sum())}
        squares |= {key: squares.get(key, 0.0) + square for key, square in own.items()}
    for name, rows in update.rows.items():
        squares["table", name] = float((rows.values.double() - update.start[name][rows.rows].double()).square().sum())
    return {group: math.sqrt(square) for group, square in squares.items()}


def _shortened(update: ScenarioUpdate, factors: Mapping[Group, float]) -> ScenarioUpdate:
    """Return an update of which some groups' changes are multiplied by a factor below 1."""
    logger.warning(
        "%s: %d parts of its update are longer than federation.clip allows, and count with %.2g to %.2g of it",
        update.scenario,
        len(factors),
        min(factors.values()),
        max(factors.values()),
    )
    end: Tensors = dict(update.end)
    experts = _experts(update)
    for name, group in _groups(update).items():
        if experts and update.slots[name].part is Part.EXPERT:
            own = [factors.get((*group, expert), 1.0) for expert in range(experts)]
        else:
            own = [factors.get(group, 1.0)]
        if min(own) < 1.0:
            scale = torch.tensor(own, dtype=torch.float64).view(-1, *[1] * (end[name].dim() - 1))
            end[name] = _toward(update.start[name], end[name], scale)
    rows: dict[str, RowUpdate] = {}
    for name, table in update.rows.items():
        scale = torch.tensor(factors.get(("table", name), 1.0), dtype=torch.float64)
        values = _toward(update.start[name][table.rows], table.values, scale) if scale < 1.0 else table.values
        rows[name] = replace(table, values=values)
    return replace(update, end=end, rows=rows)


def _toward(start: Tensor, end: Tensor, factor: Tensor) -> Tensor:
    """Return the value a part of the way from the start to the end; elements on a way of factor 1 keep every bit."""
    between = start.double() + factor * (end.double() - start.double())
    return torch.where(factor < 1.0, between.to(end.dtype), end)
