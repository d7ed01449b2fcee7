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
>>> back = layout.empty(torch.float32)
>>> layout.fill(back, vectors)
>>> back["weight"].shape
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

    def flatten(self, tensors: Mapping[str, Tensor], some: slice = slice(None)) -> Tensor:
        """Return the tensors as one vector per expert (E, P), of some experts alone if they are named."""
        return torch.cat([tensors[name].reshape(self.experts, -1)[some] for name, _ in self.shapes], dim=1)

    def empty(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return tensors without values, by name."""
        return {name: torch.empty(shape, dtype=dtype) for name, shape in self.shapes}

    def fill(self, tensors: Mapping[str, Tensor], vectors: Tensor, some: slice = slice(None)) -> None:
        """Copy ``vectors`` (E, P), or those of some experts, into tensors of `empty`."""
        widths = [shape.numel() // self.experts for _, shape in self.shapes]
        for (name, _), piece in zip(self.shapes, torch.split(vectors, widths, dim=1), strict=True):
            tensors[name].view(self.experts, -1)[some] = piece
