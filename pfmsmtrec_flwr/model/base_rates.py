"""The start of a model's outputs at the base rates of its tasks.

Examples
--------
The ctr tower starts at the log-odds of a rate of 10 %.

>>> from pfmsmtrec_flwr.config import ModelSettings
>>> from pfmsmtrec_flwr.model import ModelSpec, build_model, output_biases, partition
>>> model = build_model(ModelSpec((), numeric=2, tasks=("ctr",)), ModelSettings(), seed=0)
>>> biases = output_biases("mmoe", partition(model).values(), ["ctr"], positives=[100], rows=[1000])
>>> {name: round(float(value), 2) for name, value in biases.items()}
{'towers.of_task.ctr.4.bias': -2.19}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pfmsmtrec_flwr.model.build import KNOWN_ARCHITECTURES
from pfmsmtrec_flwr.model.parts import Part, Slot


def output_biases(
    architecture: str, slots: Iterable[Slot], tasks: Sequence[str], positives: Sequence[int], rows: Sequence[int]
) -> dict[str, Tensor]:
    """Return initial output biases: the log-odds of the tasks' rates.

    With them the first rounds need not learn how frequent a label is. Half a row of each class is added to the counts,
    which keeps the log-odds finite where all labels are alike.

    Parameters
    ----------
    architecture
        Name of the model's architecture. Where the towers are steps of a path, each starts at the rate among the rows
        that took the step before.
    slots
        Slots of the model.
    tasks
        Names of the tasks, in the order of `positives`.
    positives, rows
        Number of positive rows of each task, and number of all rows with its label in the scenarios that have it.

    Returns
    -------
    dict
        Biases by name, each (1,), or (T,) for a tower that serves all tasks with one output for each.
    """
    decided = KNOWN_ARCHITECTURES[architecture].rows_of_towers(positives, rows)
    odds = [(own + 0.5) / (all_ - own + 0.5) for own, all_ in zip(positives, decided, strict=True)]
    starts = {task: math.log(each) for task, each in zip(tasks, odds, strict=True)}
    return {
        slot.name: torch.tensor([starts[task] for task in (tasks if slot.task is None else [slot.task])])
        for slot in slots
        if slot.part is Part.OUTPUT_BIAS
    }
