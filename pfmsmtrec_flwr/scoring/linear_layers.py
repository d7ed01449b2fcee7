"""Linear predictors as layers of a network, for exported models.

Examples
--------
>>> import numpy as np
>>> import torch
>>> from pfmsmtrec_flwr.model import FieldSpec, ModelSpec
>>> from pfmsmtrec_flwr.scoring.floor_model import FloorModel, LinearPredictor
>>> from pfmsmtrec_flwr.scoring.linear_layers import LinearNetwork
>>> predictor = LinearPredictor((np.array([0.0, 1.0]),), numeric=np.array([2.0]), intercept=-1.0)
>>> spec = ModelSpec((FieldSpec("item", rows=2, federated=True),), numeric=1, tasks=("ctr",))
>>> network = LinearNetwork(FloorModel(spec, (predictor,)))
>>> network(torch.tensor([[0], [1]]), torch.tensor([[0.5], [1.0]])).tolist()
[[0.0], [2.0]]
"""

from __future__ import annotations

import torch
from scipy.special import logit
from torch import Tensor, nn

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.scoring.floor_model import FloorModel, LinearPredictor
from pfmsmtrec_flwr.training.metrics import CLIP

_MOST = float(logit(1 - CLIP))
"""Largest log odds, to which a probability of 1 is clipped before calibration."""


class LinearNetwork(nn.Module):
    """Linear predictors of a scenario's tasks, from columns to log odds.

    Raises
    ------
    UserError
        The model has trees.
    """

    def __init__(self, model: FloorModel) -> None:
        super().__init__()
        self.tasks = nn.ModuleList(LinearLayer(predictor) for predictor in _linear(model))

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the log odds (n, T) of rows, from their values (n, C) and numbers (n, N)."""
        return torch.stack([task(categorical, numeric) for task in self.tasks], dim=1).float().clamp(-_MOST, _MOST)


class LinearLayer(nn.Module):
    """Linear predictor of one task, in double precision."""

    numeric: Tensor | None
    tables: Tensor | None
    starts: Tensor | None

    def __init__(self, predictor: LinearPredictor) -> None:
        super().__init__()
        self.intercept = predictor.intercept
        sizes = [0, *(len(table) for table in predictor.tables)]
        starts = torch.tensor(sizes[:-1], dtype=torch.int64).cumsum(0)
        tables = [torch.from_numpy(table) for table in predictor.tables]
        # exported programs cannot be saved with empty buffers
        self.register_buffer("numeric", torch.from_numpy(predictor.numeric) if len(predictor.numeric) else None)
        self.register_buffer("starts", starts if tables else None)
        self.register_buffer("tables", torch.cat(tables) if tables else None)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        """Return the log odds (n,) of rows, from their values (n, C) and numbers (n, N)."""
        log_odds = torch.full_like(numeric[:, :1].sum(1), self.intercept, dtype=torch.float64)
        if self.tables is not None and self.starts is not None:
            log_odds = log_odds + self.tables[categorical + self.starts].sum(1)
        if self.numeric is not None:
            log_odds = log_odds + (numeric.double() * self.numeric).sum(1)
        return log_odds


def _linear(model: FloorModel) -> list[LinearPredictor]:
    found = [each for each in model.predictors if isinstance(each, LinearPredictor)]
    if len(found) < len(model.predictors):
        raise UserError("boosted trees cannot be exported: score rows with pfmsmtrec predict")
    return found
