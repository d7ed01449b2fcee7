"""Rounding of a change to 16 or 8 bits, with error feedback: what rounding loses is added to the next change.

Half precision is float16. With 8 bits each slice along the first axis, such as an expert or a row of a table, has a
scale of its own, and tensors with fewer than two axes are rounded to float16: they are small, and a bias or a shift
has no neighbours of its own size.

A value beyond the range becomes the largest one of its sign, never infinite; the rest of it is lost for the moment as
any rounding error is. A value that is not finite stays so, or has a scale that is not: whoever reads it refuses it.

References
----------
Seide et al., "1-Bit Stochastic Gradient Descent and its Application to Data-Parallel Distributed Training of Speech
DNNs", Interspeech 2014, for the error feedback. Karimireddy et al., "Error Feedback Fixes SignSGD and other Gradient
Compression Schemes", ICML 2019, for its analysis.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.federation.rounding import rounded, rounded_with_feedback
>>> change = torch.tensor([[1.0, -0.004], [100.0, 30.0]])
>>> coded = rounded(change, "int8")
>>> coded.values.tolist(), coded.values.dtype
([[127, -1], [127, 38]], torch.int8)
>>> [round(value, 2) for value in coded.decoded().flatten().tolist()]
[1.0, -0.01, 100.09, 29.95]
>>> first, lost = rounded_with_feedback(change, torch.zeros(2, 2), "int8")
>>> second, _ = rounded_with_feedback(torch.zeros(2, 2), lost, "int8")  # the next change brings what was lost
>>> [round(value, 3) for value in (first.decoded() + second.decoded()).flatten().tolist()]
[1.0, -0.004, 100.0, 30.0]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pfmsmtrec_flwr.config import Precision

LARGEST_HALF = 65504.0
"""Largest finite value of float16."""
SMALLEST_HALF = 2.0**-24
"""Smallest positive value of float16."""
STEPS = 127
"""Largest size of a value of 8 bits."""


@dataclass(frozen=True, slots=True)
class Coded:
    """Tensor in low precision.

    Attributes
    ----------
    values
        Values (n, ...), float16 or int8.
    scales
        Value of one step of each slice of int8 values, (n,) float16; None: the values stand for themselves.
    """

    values: Tensor
    scales: Tensor | None = None

    def decoded(self) -> Tensor:
        """Return the tensor as float32 (n, ...)."""
        if self.scales is None:
            return self.values.float()
        return self.values.float() * _along_first_axis(self.scales.float(), self.values)


def rounded(change: Tensor, precision: Precision) -> Coded:
    """Return a change in low precision.

    Parameters
    ----------
    change
        Change (n, ...), float32.
    precision
        Precision other than full.
    """
    if not has_scales(change.dim(), precision):
        return Coded(_within(change, LARGEST_HALF).half())
    largest = change.flatten(1).abs().amax(1) if change.numel() else change.new_zeros(len(change))
    # Up to the next value of float16, so that no value is beyond the last step.
    above = largest / STEPS * (1 + 2.0**-10) + SMALLEST_HALF / 2
    scales = torch.where(largest == 0, 0.0, _within(above, LARGEST_HALF).clamp(min=SMALLEST_HALF)).half()
    steps = change / _along_first_axis(scales.float(), change)
    return Coded(steps.nan_to_num(0.0).round().clamp(-STEPS, STEPS).to(torch.int8), scales)


def has_scales(axes: int, precision: Precision) -> bool:
    """Return whether a tensor of a number of axes is rounded to 8 bits."""
    return precision == "int8" and axes > 1


def rounded_with_feedback(change: Tensor, lost: Tensor, precision: Precision) -> tuple[Coded, Tensor]:
    """Return a change and what was lost before in low precision, and what is lost now.

    Over many changes the sum of the decoded ones and of what was lost last is the sum of the changes.

    Parameters
    ----------
    change, lost
        Change, and what the last rounding lost (n, ...), float32.
    precision
        Precision other than full.
    """
    whole = change + lost
    coded = rounded(whole, precision)
    return coded, whole - coded.decoded()


def halved(tensor: Tensor) -> Tensor:
    """Return float32 values as float16; others, and those of which one is beyond its range, as they are."""
    if tensor.dtype != torch.float32 or (tensor.numel() and not bool((tensor.abs() <= LARGEST_HALF).all())):
        return tensor
    return tensor.half()


def widened(tensor: Tensor) -> Tensor:
    """Return float16 values as float32, and others as they are."""
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _within(values: Tensor, largest: float) -> Tensor:
    """Return values of which the finite ones are bounded."""
    return torch.where(values.isfinite(), values.clamp(-largest, largest), values)


def _along_first_axis(scales: Tensor, values: Tensor) -> Tensor:
    return scales.view(-1, *[1] * (values.dim() - 1))
