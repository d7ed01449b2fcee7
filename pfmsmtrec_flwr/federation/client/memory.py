"""Memory of a scenario from one exchange to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
from pfmsmtrec_flwr.federation.protocol import Tensors

Moments = Mapping[str, Tensors]
"""Moments and step counts of an optimiser, by parameter and by kind."""


@dataclass(frozen=True, slots=True)
class ClientMemory:
    """Everything that a scenario remembers, or one scope of it.

    Attributes
    ----------
    model
        Tensors of a model, by name.
    optimizer
        Moments of the model's optimisers.
    average
        Mean over the rounds of the model that predicts, by name.
    tables
        Copies of the shared tables as the server knows them, by name; those of a scope are not kept.
    figures
        Numbers that a method remembers, by name.
    scopes
        Further memories, by name: the one of a second model, for example. A name has no slash and differs from the
        attributes above.
    """

    model: Tensors = field(default_factory=dict)
    optimizer: Moments = field(default_factory=dict)
    average: Tensors = field(default_factory=dict)
    tables: Mapping[str, TableCopy] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    scopes: Mapping[str, ClientMemory] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is remembered, as before the first exchange."""
        own = self.model or self.optimizer or self.average or self.tables or self.figures
        return not own and all(memory.is_empty for memory in self.scopes.values())

    def scope(self, name: str) -> ClientMemory:
        """Return the memory of that name, which is empty if there is none."""
        return self.scopes.get(name, ClientMemory())

    def with_scope(self, name: str, memory: ClientMemory) -> ClientMemory:
        """Return this memory with a scope added or replaced."""
        return replace(self, scopes={**self.scopes, name: memory})

    def to_tensors(self) -> Tensors:
        """Return all but the tables: ``model/NAME``, ``optimizer/NAME/KIND``, ``SCOPE/model/NAME`` and so on."""
        tensors = {f"model/{name}": value for name, value in self.model.items()}
        tensors |= {
            f"optimizer/{name}/{kind}": value
            for name, moments in self.optimizer.items()
            for kind, value in moments.items()
        }
        tensors |= {f"average/{name}": value for name, value in self.average.items()}
        tensors |= {f"figures/{name}": torch.tensor(value, dtype=torch.float64) for name, value in self.figures.items()}
        for scope, memory in self.scopes.items():
            tensors |= {f"{scope}/{name}": value for name, value in memory.to_tensors().items()}
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], tables: Mapping[str, TableCopy] | None = None) -> ClientMemory:
        """Read what `to_tensors` made, and add the tables."""
        groups: dict[str, Tensors] = {}
        for path, value in tensors.items():
            group, _, name = path.partition("/")
            groups.setdefault(group, {})[name] = value
        optimizer: dict[str, Tensors] = {}
        for path, value in groups.pop("optimizer", {}).items():
            name, _, kind = path.rpartition("/")
            optimizer.setdefault(name, {})[kind] = value
        return cls(
            model=groups.pop("model", {}),
            optimizer=optimizer,
            average=groups.pop("average", {}),
            tables=tables or {},
            figures={name: float(value) for name, value in groups.pop("figures", {}).items()},
            scopes={scope: cls.from_tensors(members) for scope, members in groups.items()},
        )
