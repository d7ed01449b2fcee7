"""Where a model's outputs start: at the base rates of its tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pfmsmtrec_flwr.model.build import ARCHITECTURES
from pfmsmtrec_flwr.model.parts import Part, Slot


def output_biases(
    architecture: str, slots: Iterable[Slot], tasks: Sequence[str], positives: Sequence[int], rows: Sequence[int]
) -> dict[str, Tensor]:
    """Return a start for the output biases: the log-odds of the tasks' rates.

    So the first rounds need not learn how frequent a label is. Half a row of each class is added, which keeps a label
    of one class finite.

    Parameters
    ----------
    architecture
        Of the model; one whose towers are steps of a path starts each at the rate among the rows that came so far.
    slots
        Of the model.
    tasks
        In the order of `positives`.
    positives, rows
        Of each task: rows with its label, and rows of the scenarios that have it.

    Returns
    -------
    dict
        By name, each (1,); that of a tower of all tasks, which has one output for each, (T,).
    """
    decided = ARCHITECTURES[architecture].rows_of_towers(positives, rows)
    odds = [(own + 0.5) / (all_ - own + 0.5) for own, all_ in zip(positives, decided, strict=True)]
    starts = {task: math.log(each) for task, each in zip(tasks, odds, strict=True)}
    return {
        slot.name: torch.tensor([starts[task] for task in (tasks if slot.task is None else [slot.task])])
        for slot in slots
        if slot.part is Part.OUTPUT_BIAS
    }
