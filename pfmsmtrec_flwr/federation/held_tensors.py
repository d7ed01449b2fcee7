"""A scenario's tensors as the server holds them: tables that scenarios have versions of are made when asked for.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.aggregation.personal_tables import PersonalTable
>>> from pfmsmtrec_flwr.federation.held_tensors import HeldTensors, form_of_tensor, rows_of_table
>>> tables = {"t": PersonalTable.of((name, torch.zeros(3, 1)) for name in ("NL", "US"))}
>>> own = HeldTensors("NL", {"w": torch.ones(1), "t": None}, tables)
>>> own["t"] = torch.tensor([[0.0], [5.0], [0.0]])  # is held as the row that differs
>>> own["t"].flatten().tolist(), tables["t"].kept_rows
([0.0, 5.0, 0.0], 4)
>>> rows_of_table(own, "t", torch.tensor([1])).tolist(), form_of_tensor(own, "t").shape
([[5.0]], torch.Size([3, 1]))
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, MutableMapping
from typing import Any

from torch import Tensor

from pfmsmtrec_flwr.aggregation.personal_tables import PersonalTable
from pfmsmtrec_flwr.aggregation.table_checksum import table_checksum


class HeldTensors(MutableMapping[str, Tensor]):
    """Tensors of one scenario by name, of which some are tables that are held for all scenarios together.

    Such a table is made anew each time it is asked for: to change it, set it.

    Parameters
    ----------
    scenario
        Name of the scenario.
    tensors
        Tensors by name, in the model's order; None: a table that is held for all scenarios.
    tables
        Last state of the tables of all scenarios, by name.
    """

    def __init__(
        self, scenario: str, tensors: Mapping[str, Tensor | None], tables: MutableMapping[str, PersonalTable]
    ) -> None:
        self._scenario = scenario
        self._tensors = dict(tensors)
        self._tables = tables

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor; a table that is held for all scenarios in memory of its own."""
        own = self._tensors[name]
        return self._tables[name].table(self._scenario) if own is None else own

    def __setitem__(self, name: str, value: Tensor) -> None:
        """Set a tensor; a table in another shape or type is held for this scenario alone from now on."""
        table = self.table(name)
        if table is not None and (table.form.shape, table.form.dtype) == (value.shape, value.dtype):
            self._tables[name] = table.with_table(self._scenario, value)
        else:
            self._tensors[name] = value

    def __delitem__(self, name: str) -> None:
        """Remove a tensor."""
        del self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        """Return whether there is a tensor of a name, without making it."""
        return name in self._tensors

    def __or__(self, other: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return all tensors and those of another mapping, which precede."""
        return {**self, **other}

    def __ror__(self, other: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of another mapping and all of these, which precede."""
        return {**other, **self}

    def __ior__(self, other: Mapping[str, Tensor]) -> HeldTensors:
        """Set the tensors of another mapping."""
        self.update(other)
        return self

    def table(self, name: str) -> PersonalTable | None:
        """Return the tables of all scenarios to which one of this scenario belongs; None: it is held by itself."""
        return self._tables[name] if name in self._tensors and self._tensors[name] is None else None

    def with_common(self, common: Mapping[str, Tensor]) -> HeldTensors:
        """Return the common tensors and these as they are now, whatever is set later."""
        return HeldTensors(self._scenario, {**common, **self._tensors}, dict(self._tables))

    def without(self, names: Container[str]) -> HeldTensors:
        """Return all tensors but some."""
        own = {name: tensor for name, tensor in self._tensors.items() if name not in names}
        return HeldTensors(self._scenario, own, self._tables)

    def rows_of(self, name: str, rows: Tensor) -> Tensor:
        """Return the values (n, d) of some rows of a table, whose numbers (n,) ascend without repetition."""
        table = self.table(name)
        return self[name][rows] if table is None else table.rows_of(self._scenario, rows)

    def checksum(self, name: str) -> Tensor | None:
        """Return the checksum of a table that is held for all scenarios, () int64; None: it is held by itself."""
        table = self.table(name)
        return None if table is None else table.checksum(self._scenario)

    def state_dict(self) -> dict[str, Any]:
        """Return the tensors, for a checkpoint, with None in place of those that are held for all scenarios."""
        return dict(self._tensors)


def rows_of_table(tensors: Mapping[str, Tensor], name: str, rows: Tensor) -> Tensor:
    """Return the values (n, d) of some rows (n,) of a table, which is not made for it; the numbers ascend."""
    return tensors.rows_of(name, rows) if isinstance(tensors, HeldTensors) else tensors[name][rows]


def form_of_tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """Return a tensor, or of a table that is held for all scenarios its shape and type, as a tensor without values."""
    table = tensors.table(name) if isinstance(tensors, HeldTensors) else None
    return tensors[name] if table is None else table.form


def checksum_of_tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """Return the checksum of a table, () int64, which is known where the table is held for all scenarios."""
    known = tensors.checksum(name) if isinstance(tensors, HeldTensors) else None
    return table_checksum(tensors[name]) if known is None else known
