"""The layout of an expert's tensors in one vector.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.aggregation.experts import ExpertLayout
>>> tensors = {"weight": torch.ones(2, 3, 4), "bias": torch.zeros(2, 4)}  # two experts
>>> layout = ExpertLayout.of(tensors)
>>> vectors = layout.flatten(tensors)
>>> vectors.shape
torch.Size([2, 16])
>>> layout.unflatten(vectors)["weight"].shape
torch.Size([2, 3, 4])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ExpertLayout:
    """Positions of the experts' tensors, whose first axis is E, in one vector per expert.

    Attributes
    ----------
    shapes
        Name and shape (E, ...) of each tensor, in their order within the vector.
    """

    shapes: tuple[tuple[str, torch.Size], ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> ExpertLayout:
        """Return the layout of the tensors, which lie in the order of their names."""
        return cls(tuple((name, tensors[name].shape) for name in sorted(tensors)))

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the tensors as one vector per expert (E, P)."""
        return torch.cat([tensors[name].flatten(1) for name, _ in self.shapes], dim=1)

    def unflatten(self, vectors: Tensor) -> dict[str, Tensor]:
        """Return the tensors of ``vectors`` (E, P), by name."""
        widths = [shape.numel() // shape[0] for _, shape in self.shapes]
        pieces = torch.split(vectors, widths, dim=1)
        return {
            name: piece.reshape(shape).contiguous() for (name, shape), piece in zip(self.shapes, pieces, strict=True)
        }
