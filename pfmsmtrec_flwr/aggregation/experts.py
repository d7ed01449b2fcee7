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
>>> ExpertLayout.of(tensors, experts=1).flatten(tensors).shape  # both as one
torch.Size([1, 32])
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
    experts
        Number of vectors E; with 1, tensors of any shape are one vector.
    """

    shapes: tuple[tuple[str, torch.Size], ...]
    experts: int

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], experts: int | None = None) -> ExpertLayout:
        """Return the layout of the tensors, which lie in the order of their names.

        Parameters
        ----------
        tensors
            Tensors by name.
        experts
            Number of vectors; by default the length of the tensors' first axis.
        """
        shapes = tuple((name, tensors[name].shape) for name in sorted(tensors))
        return cls(shapes, shapes[0][1][0] if experts is None else experts)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the tensors as one vector per expert (E, P)."""
        return torch.cat([tensors[name].reshape(self.experts, -1) for name, _ in self.shapes], dim=1)

    def unflatten(self, vectors: Tensor) -> dict[str, Tensor]:
        """Return the tensors of ``vectors`` (E, P), by name."""
        widths = [shape.numel() // self.experts for _, shape in self.shapes]
        pieces = torch.split(vectors, widths, dim=1)
        return {
            name: piece.reshape(shape).contiguous() for (name, shape), piece in zip(self.shapes, pieces, strict=True)
        }
