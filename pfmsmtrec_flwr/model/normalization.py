"""Batch normalization of the rows of one scenario in a mixed batch, which may be few.

Examples
--------
A single row has no variance: it is normalised with the running statistics, which stay as they are.

>>> import torch
>>> from pfmsmtrec_flwr.model.normalization import FewRowsNorm
>>> norm = FewRowsNorm(2)
>>> [round(value, 4) for value in norm(torch.tensor([[3.0, 5.0]])).flatten().tolist()]
[3.0, 5.0]
>>> norm.running_mean.tolist()
[0.0, 0.0]
>>> norm(torch.zeros(0, 2)).shape
torch.Size([0, 2])
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class FewRowsNorm(nn.BatchNorm1d):
    """Batch normalization that uses its running statistics for a single row in training, and takes no rows too."""

    def forward(self, rows: Tensor) -> Tensor:
        """Normalise ``rows`` (B, D), where B may be 0 or 1."""
        if not rows.shape[0]:
            return rows
        if self.training and len(rows) == 1:
            return functional.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        normalised: Tensor = super().forward(rows)
        return normalised
