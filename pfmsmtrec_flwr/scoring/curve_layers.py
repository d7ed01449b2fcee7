"""Calibration curves as layers of a network, for exported models.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.scoring.curve_layers import curve_layer
>>> from pfmsmtrec_flwr.training.calibration import IsotonicCurve
>>> layer = curve_layer(IsotonicCurve(log_odds=(-1.0, 0.0, 2.0), probabilities=(0.25, 0.25, 0.75)))
>>> layer(torch.tensor([-3.0, -0.5, 1.0, 5.0])).tolist()
[0.25, 0.25, 0.5, 0.75]
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pfmsmtrec_flwr.training.calibration import IsotonicCurve, PlattCurve


class PlattLayer(nn.Module):
    """Platt curve of log odds (n,)."""

    def __init__(self, curve: PlattCurve) -> None:
        super().__init__()
        self.slope = curve.slope
        self.intercept = curve.intercept

    def forward(self, log_odds: Tensor) -> Tensor:
        """Return the probabilities (n,)."""
        return (self.slope * log_odds + self.intercept).sigmoid()


class IsotonicLayer(nn.Module):
    """Isotonic curve of log odds (n,): the first probability, and each rise in the share that a row has passed."""

    starts: Tensor
    widths: Tensor
    rises: Tensor

    def __init__(self, curve: IsotonicCurve) -> None:
        super().__init__()
        points = torch.tensor(curve.log_odds, dtype=torch.float64)
        rises = torch.tensor(curve.probabilities, dtype=torch.float64).diff()
        steps = rises > 0
        self.first = curve.probabilities[0]
        self.register_buffer("starts", points[:-1][steps].float())
        self.register_buffer("widths", points.diff()[steps].float())
        self.register_buffer("rises", rises[steps].float())

    def forward(self, log_odds: Tensor) -> Tensor:
        """Return the probabilities (n,)."""
        passed = ((log_odds.unsqueeze(1) - self.starts) / self.widths).clamp(0.0, 1.0)  # (n, steps)
        return self.first + (passed * self.rises).sum(1)


def curve_layer(curve: PlattCurve | IsotonicCurve) -> nn.Module:
    """Return a curve as a layer from log odds (n,) to probabilities (n,)."""
    return PlattLayer(curve) if isinstance(curve, PlattCurve) else IsotonicLayer(curve)
