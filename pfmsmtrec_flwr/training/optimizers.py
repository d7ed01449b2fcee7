"""The optimisers of a local training: one for the network, one for its embedding tables.

Examples
--------
>>> from pfmsmtrec_flwr.config import ModelSettings, TrainSettings
>>> from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
>>> from pfmsmtrec_flwr.training.optimizers import make_optimizer
>>> spec = ModelSpec((FieldSpec("item", rows=7, federated=True),), numeric=1, tasks=("ctr",))
>>> optimizer = make_optimizer(build_model(spec, ModelSettings(), seed=0), TrainSettings(embedding_optimizer="adagrad"))
>>> [type(each).__name__ for each in optimizer.optimizers]
['Adam', 'Adagrad']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.config import TrainSettings
from pfmsmtrec_flwr.model import ScenarioModel
from pfmsmtrec_flwr.model.embeddings import FieldEmbeddings
from pfmsmtrec_flwr.model.template import TemplateLinear
from pfmsmtrec_flwr.training.row_adagrad import RowAdagrad
from pfmsmtrec_flwr.training.without_compiler import leave_compiler_out, plain_step

LARGE = 8
"""Rows of a table per use in a batch from which a step by rows takes less time than one of the whole table."""


class LocalOptimizer:
    """Optimisers of disjoint parameters, stepped together.

    Parameters
    ----------
    optimizers
        Optimisers; each parameter belongs to one of them.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.optimizers = tuple(optimizers)
        self._of = {
            parameter: optimizer
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update all parameters."""
        for optimizer in self.optimizers:
            plain_step(optimizer)

    def moments_of(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """Return the moments of a parameter by name; they are empty for a frozen parameter."""
        if parameter not in self._of:
            return {}
        optimizer = self._of[parameter]
        return optimizer.moments_of(parameter) if isinstance(optimizer, RowAdagrad) else optimizer.state[parameter]

    def restore(self, parameter: nn.Parameter, moments: Mapping[str, Tensor]) -> None:
        """Go on from moments that `moments_of` returned; those of a frozen parameter are dropped."""
        if parameter not in self._of:
            return
        # The step count moves to the device too: a fused optimiser needs it there.
        here = {kind: value.to(parameter.device) for kind, value in moments.items()}
        optimizer = self._of[parameter]
        if isinstance(optimizer, RowAdagrad):
            optimizer.restore(parameter, here)
        else:
            optimizer.state[parameter].update(here)


def make_optimizer(model: ScenarioModel, settings: TrainSettings) -> LocalOptimizer:
    """Return the optimisers of all parameters that take part in training.

    Adam trains the network, and Adam or Adagrad its embedding tables. Adagrad's steps for a row shrink with the row's
    own gradients so far: a frequent row comes to rest while a rare one still moves far (Duchi et al., JMLR 2011).
    Adagrad has no weight decay, as that would move rows that no impression has touched. It moves large tables row by
    row, with the same bits; their gradients are sparse from now on.

    Parameters
    ----------
    model
        Model; those of its parameters that require a gradient take part.
    settings
        Training settings; they hold learning rates, weight decay and the optimiser of the tables.
    """
    leave_compiler_out()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    apart = model.tables if settings.embedding_optimizer == "adagrad" else ()
    tables = [table for table in apart if table.weight.requires_grad]
    for table in model.tables:
        table.sparse = table in tables and is_large(table, settings)
    own = {id(table.weight) for table in tables}
    network = [parameter for parameter in parameters if id(parameter) not in own]
    small = [table.weight for table in tables if not table.sparse]
    large = [table.weight for table in tables if table.sparse]
    optimizers: list[torch.optim.Optimizer] = []
    if network:
        adam = torch.optim.Adam(_groups(model, network, settings), lr=settings.lr, fused=True)
        optimizers.append(adam)
    if small:
        on_cpu = small[0].device.type == "cpu"
        optimizers.append(torch.optim.Adagrad(small, lr=settings.embedding_lr, fused=on_cpu or None))
    if large:
        optimizers.append(RowAdagrad(large, lr=settings.embedding_lr))
    return LocalOptimizer(optimizers)


def is_large(table: FieldEmbeddings, settings: TrainSettings) -> bool:
    """Return whether a batch uses so few rows of a table that a step by rows takes less time."""
    return len(table.weight) >= LARGE * settings.batch_size * len(table.columns)


def _groups(model: ScenarioModel, network: Sequence[nn.Parameter], settings: TrainSettings) -> list[dict[str, Any]]:
    """Return the network's parameters with their weight decay: none for components that the template shrinks itself."""
    layers = (module for module in model.modules() if isinstance(module, TemplateLinear))
    apart = {id(own) for layer in layers for own in (layer.weight_task, layer.bias_task)}
    groups = (
        ([each for each in network if id(each) not in apart], settings.weight_decay),
        ([each for each in network if id(each) in apart], 0.0),
    )
    return [{"params": members, "weight_decay": decay} for members, decay in groups if members]
