"""An expert's tensors as one vector, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ExpertLayout:
    """How the tensors of the experts, each with E as its first axis, lie in one vector per expert.

    Attributes
    ----------
    shapes
        Shape of each tensor (E, ...) by name, in their order within the vector.
    """

    shapes: tuple[tuple[str, torch.Size], ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> ExpertLayout:
        """Return the layout of the given tensors, in order of their names."""
        return cls(tuple((name, tensors[name].shape) for name in sorted(tensors)))

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the tensors as (E, P)."""
        return torch.cat([tensors[name].flatten(1) for name, _ in self.shapes], dim=1)

    def unflatten(self, vectors: Tensor) -> dict[str, Tensor]:
        """Return the tensors that lie in ``vectors`` (E, P)."""
        widths = [shape.numel() // shape[0] for _, shape in self.shapes]
        pieces = torch.split(vectors, widths, dim=1)
        return {
            name: piece.reshape(shape).contiguous() for (name, shape), piece in zip(self.shapes, pieces, strict=True)
        }
