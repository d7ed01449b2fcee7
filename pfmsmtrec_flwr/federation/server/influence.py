"""The bound on one scenario's influence: what a reply counts for once it has been admitted.

Each part of a scenario's update is shortened to a multiple of the median length; a scenario whose update is far longer,
or claims more uses of rows than it has rows, is left out of the exchange. docs/method.md, 3.7, states what follows for
the others.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.clipping import clip_factors, relative_lengths, uses_fit
from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.config import TrainSettings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.client import TOWER_STEPS
from pfmsmtrec_flwr.federation.held_tensors import rows_of_table
from pfmsmtrec_flwr.federation.protocol import Stage, Tensors
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.model import HEAD_PARTS, Part
from pfmsmtrec_flwr.training.description import Description
from pfmsmtrec_flwr.training.local import local_steps

Group = tuple[Hashable, ...]
"""Name of a part of the model that is shortened by one factor: an expert, a tower, a table, the running means."""
LEFT_OUT = 3.0
"""Multiple of the largest length that counts beyond which an update is left out: it is no result of training."""
_VARIANCE = "running_var"


def bound_updates(
    updates: Sequence[ScenarioUpdate],
    scenarios: Mapping[str, Description],
    train: TrainSettings,
    stage: Stage,
    multiple: float,
    *,
    noisy: bool = False,
) -> list[ScenarioUpdate]:
    """Return the updates that count, as they count; an update within its bounds is returned as it is.

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
        Largest relative length of a part of an update, see `relative_lengths`; 0 shortens nothing and leaves nobody
        out for a length.
    noisy
        Whether updates have noise (``privacy.noise``), whose length does not grow with the number of steps.

    Raises
    ------
    UserError
        No update counts.
    """
    described = [scenarios[update.scenario] for update in updates]
    steps = [1 if noisy else _steps(description, train, stage) for description in described]
    relative = _relative(updates, steps)
    counting = []
    for update, description, (_, longest) in zip(updates, described, relative, strict=True):
        if not _fits(update, description, every_row=noisy):
            logger.warning("%s is left out: more uses of a field's rows than its training rows have", update.scenario)
        elif multiple and longest > LEFT_OUT * max(1.0, multiple):
            logger.warning("%s is left out: its update is %.3g times as long as others", update.scenario, longest)
        else:
            counting.append(update)
    if updates and not counting:
        raise UserError("no scenario's update can be used: all of them are left out")
    if len(counting) < len(updates):  # the others are measured by each other, as if those left out were absent
        return bound_updates(counting, scenarios, train, stage, multiple, noisy=noisy)
    positive = [_with_variances(update) for update in updates]
    if not multiple:
        return positive
    return [_shortened(update, lengths, multiple) for update, (lengths, _) in zip(positive, relative, strict=True)]


def _steps(description: Description, train: TrainSettings, stage: Stage) -> int:
    """Return the number of steps of training that a scenario is asked for at a stage."""
    return TOWER_STEPS if stage is Stage.TOWERS else local_steps(description.used_rows, train)


def _fits(update: ScenarioUpdate, description: Description, *, every_row: bool) -> bool:
    """Return whether no field's rows have more uses than its columns in the training rows.

    Parameters
    ----------
    update
        Update whose number of training rows was checked.
    description
        Description of its scenario.
    every_row
        Whether each row counts as used once, whatever was used.
    """
    fields = [field for field in description.spec().fields if field.federated]
    ends = torch.tensor(list(accumulate(field.rows for field in fields)))
    most = torch.tensor([max(field.most * update.examples, every_row * field.rows) for field in fields])
    return all(uses_fit(table.rows, table.counts, ends, most) for table in update.rows.values())


def _relative(updates: Sequence[ScenarioUpdate], steps: Sequence[int]) -> list[tuple[dict[Group, float], float]]:
    """Return the relative length of each part of each update, and the largest one that others can judge.

    Where only two scenarios moved, nobody can say which one moved as it should, and no length is judged.
    """
    lengths = [_lengths(update) for update in updates]
    relative: list[dict[Group, float]] = [{} for _ in updates]
    longest = [0.0 for _ in updates]
    for group in dict.fromkeys(group for own in lengths for group in own):
        owners = [index for index, own in enumerate(lengths) if group in own]
        norms = torch.tensor([lengths[owner][group] for owner in owners], dtype=torch.float64)
        found = relative_lengths(norms, [steps[owner] for owner in owners])
        for owner, length in zip(owners, found.tolist(), strict=True):
            relative[owner][group] = length
            if (norms > 0).sum() > 2:
                longest[owner] = max(longest[owner], length)
    return list(zip(relative, longest, strict=True))


def _with_variances(update: ScenarioUpdate) -> ScenarioUpdate:
    """Return an update whose running variances are not negative, so that their mean has a root."""
    end = {name: value.clamp(min=0) if name.endswith(_VARIANCE) else value for name, value in update.end.items()}
    return replace(update, end=end)


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
        squares["table", name] = float(
            (rows.values.double() - rows_of_table(update.start, name, rows.rows).double()).square().sum()
        )
    return {group: math.sqrt(square) for group, square in squares.items()}


def _shortened(update: ScenarioUpdate, lengths: Mapping[Group, float], multiple: float) -> ScenarioUpdate:
    """Return an update of which no part is relatively longer than the multiple."""
    groups = list(lengths)
    clipped = clip_factors(torch.tensor([lengths[group] for group in groups], dtype=torch.float64), multiple)
    factors = {group: factor for group, factor in zip(groups, clipped.tolist(), strict=True) if factor < 1.0}
    if not factors:
        return update
    logger.warning("%s: %d parts of its update are cut to the length that may count", update.scenario, len(factors))
    end: Tensors = dict(update.end)
    experts = _experts(update)
    for name, group in _groups(update).items():
        if experts and update.slots[name].part is Part.EXPERT:
            own = [factors.get((*group, expert), 1.0) for expert in range(experts)]
        else:
            own = [factors.get(group, 1.0)]
        end[name] = _toward(update.start[name], end[name], own)
    rows: dict[str, RowUpdate] = {}
    for name, table in update.rows.items():
        own = [factors.get(("table", name), 1.0)]
        rows[name] = replace(table, values=_toward(rows_of_table(update.start, name, table.rows), table.values, own))
    return replace(update, end=end, rows=rows)


def _toward(start: Tensor, end: Tensor, factors: Sequence[float]) -> Tensor:
    """Return the value a part of the way from the start to the end; a way of factor 1 keeps every bit.

    Parameters
    ----------
    start, end
        Values (E, ...).
    factors
        Factor of each element of the first axis, or one for all.
    """
    if min(factors) == 1.0:
        return end
    scale = torch.tensor(factors, dtype=torch.float64).view(-1, *[1] * (end.dim() - 1))
    between = start.double() + scale * (end.double() - start.double())
    return torch.where(scale < 1.0, between.to(end.dtype), end)
