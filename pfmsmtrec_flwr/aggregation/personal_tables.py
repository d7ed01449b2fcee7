"""One embedding table of which each scenario has a version of its own: what they have in common is held once.

A base (R, d) is held once, and of each scenario the rows that differ from it in any bit. A row that one scenario alone
has touched is the same for all that count it, so it becomes the base's. Memory is R rows and those in which scenarios
differ, and a round's work grows with the rows that were touched or differ, not with scenarios times R.

Examples
--------
Both scenarios touch row 1 and average it by their own weights; row 2 is of the second one alone.

>>> import torch
>>> from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
>>> from pfmsmtrec_flwr.aggregation.personal_tables import PersonalTable
>>> start = PersonalTable.of((name, torch.zeros(3, 1)) for name in ("NL", "US"))
>>> first = RowUpdate(rows=torch.tensor([1]), values=torch.tensor([[4.0]]), counts=torch.tensor([1]))
>>> second = RowUpdate(torch.tensor([1, 2]), torch.tensor([[8.0], [5.0]]), torch.tensor([1, 1]))
>>> weights = torch.tensor([[1.0, 1.0], [1.0, 3.0]])  # of one use of a row, (K, K)
>>> after = start.averaged({"NL": first, "US": second}, weights)
>>> [after.table(name).flatten().tolist() for name in ("NL", "US")]
[[0.0, 6.0, 5.0], [0.0, 7.0, 5.0]]
>>> after.kept_rows  # three of the base, and row 1 of US
4
>>> start.table("US").flatten().tolist()  # what it was stays readable
[0.0, 0.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pfmsmtrec_flwr.aggregation.consensus import weighted_mean
from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.aggregation.row_sets import joined_rows, places_of_common, put_rows, united_rows
from pfmsmtrec_flwr.aggregation.table_checksum import sum_of_rows, table_checksum
from pfmsmtrec_flwr.model.embeddings import differing_rows

MEAN_VALUES_AT_ONCE = 1 << 24
"""Number of values, of all scenarios together, that are copied at once for a mean."""


@dataclass(frozen=True, slots=True)
class OwnRows:
    """Some rows of a table.

    Attributes
    ----------
    rows
        Row numbers, ascending and without repetition, (n,) int64.
    values
        Values of these rows (n, d).
    surplus
        What the checksum of a table has more for these values than for those of a base, () int64.
    """

    rows: Tensor
    values: Tensor
    surplus: Tensor

    @classmethod
    def that_differ(cls, rows: Tensor, values: Tensor, base: Tensor) -> OwnRows:
        """Return those of some rows (m,) of which the values (m, d) differ from the base's in any bit."""
        differs = differing_rows(values, base)
        return cls.of(rows[differs], values[differs], base[differs])

    @classmethod
    def of(cls, rows: Tensor, values: Tensor, base: Tensor) -> OwnRows:
        """Return rows with what they add to the checksum of a table."""
        return cls(rows, values, sum_of_rows(rows, values) - sum_of_rows(rows, base))

    def over(self, rows: Tensor, values: Tensor) -> Tensor:
        """Put those of the rows that are asked for into the values (m, d) of rows (m,), and return them."""
        return put_rows(values, rows, self.values, self.rows)

    def replaced(self, rows: Tensor, base: Tensor, new: OwnRows) -> OwnRows:
        """Return them without some rows, and with new ones that are among those.

        Parameters
        ----------
        rows, base
            Rows (m,), and their values in the base before (m, d).
        new
            Rows among them that differ from the base now.
        """
        gone, among = places_of_common(self.rows, rows)
        if not len(new.rows) and not len(gone):
            return self
        stays = torch.ones(len(self.rows), dtype=torch.bool)
        stays[gone] = False
        joined, first, second = joined_rows(self.rows[stays], new.rows)
        values = new.values.new_empty(len(joined), *new.values.shape[1:])
        values[first], values[second] = self.values[stays], new.values
        lost = OwnRows.of(self.rows[gone], self.values[gone], base[among])
        return OwnRows(joined, values, self.surplus - lost.surplus + new.surplus)


class PersonalTable:
    """The versions that scenarios have of one table, at one moment.

    What changes them returns the next state, which takes the base over and changes it in place. An earlier state keeps
    the changed rows of the base as they were, so that it stays readable; only the last state can be changed.

    Parameters
    ----------
    base
        Table (R, d) from which the scenarios' tables differ; it is taken over.
    own
        Rows in which the table of each scenario differs from the base.
    checksum
        Checksum of the base, () int64; None: it is computed.
    """

    def __init__(self, base: Tensor, own: Mapping[str, OwnRows], checksum: Tensor | None = None) -> None:
        self._base = base
        self._own = dict(own)
        self._checksum = table_checksum(base) if checksum is None else checksum
        self._following: tuple[PersonalTable, OwnRows] | None = None

    @classmethod
    def of(cls, tables: Iterable[tuple[str, Tensor]]) -> PersonalTable:
        """Return the state that holds whole tables (R, d) of some scenarios; the first one becomes the base."""
        base: Tensor | None = None
        own: dict[str, OwnRows] = {}
        for scenario, table in tables:
            base = table.clone() if base is None else base
            own[scenario] = OwnRows.that_differ(torch.arange(len(table)), table, base)
        if base is None:
            raise ValueError("no scenario has the table")
        return cls(base, own)

    @property
    def form(self) -> Tensor:
        """Shape and type of the table, as a tensor without values."""
        return torch.empty_like(self._base, device="meta")

    @property
    def kept_rows(self) -> int:
        """Number of rows that are held."""
        return len(self._base) + sum(len(own.rows) for own in self._own.values())

    def __contains__(self, scenario: object) -> bool:
        """Return whether a scenario has the table."""
        return scenario in self._own

    def table(self, scenario: str) -> Tensor:
        """Return the table of a scenario (R, d), in memory of its own."""
        own = self._own[scenario]
        return self._whole_base().index_copy_(0, own.rows, own.values)

    def rows_of(self, scenario: str, rows: Tensor) -> Tensor:
        """Return the values (n, d) of some rows of a scenario's table, whose numbers (n,) ascend without repetition."""
        return self._own[scenario].over(rows, self._base_rows(rows))

    def checksum(self, scenario: str) -> Tensor:
        """Return the checksum of a scenario's table, () int64, that of `table_checksum`."""
        return self._checksum + self._own[scenario].surplus

    def averaged(self, updates: Mapping[str, RowUpdate], weights: Tensor) -> PersonalTable:
        """Return the state after each scenario that sent an update has averaged the rows by weights of its own.

        Each table is what `average_rows` makes of it, to the bit. Scenarios without an update keep theirs.

        Parameters
        ----------
        updates
            Update of each scenario, in the fixed order of the scenarios; every row was used once at least.
        weights
            Weight of one use of a row in each scenario, not negative, for the table of each scenario (K, K).
        """
        touched = _Touched.of(list(updates.values()))
        new: dict[str, tuple[Tensor, Tensor]] = {}
        for scenario, own in zip(updates, weights.double(), strict=True):
            places = touched.not_alone(own)
            before = self.rows_of(scenario, touched.rows[places])
            new[scenario] = places, touched.average_shared(before, touched.shared[places], own)
        places, values = next(iter(new.values()))
        shared = touched.shared[places]
        base = touched.alone
        base[places[shared]] = values[shared]
        every, old_base = torch.arange(len(base)), self._base_rows(touched.rows)
        own_rows = {}
        for scenario, kept in self._own.items():
            places, values = new[scenario] if scenario in new else (every, self.rows_of(scenario, touched.rows))
            differing = OwnRows.that_differ(touched.rows[places], values, base[places])
            own_rows[scenario] = kept.replaced(touched.rows, old_base, differing)
        return self._followed_by(touched.rows, base, own_rows)

    def with_table(self, scenario: str, table: Tensor) -> PersonalTable:
        """Return the state in which one scenario has another table (R, d)."""
        rows = differing_rows(self.table(scenario), table).nonzero().flatten()
        values, old_base = table[rows], self._base_rows(rows)
        base = values if len(self._own) == 1 else old_base
        own = self._own[scenario].replaced(rows, old_base, OwnRows.that_differ(rows, values, base))
        return self._followed_by(rows, base, {**self._own, scenario: own})

    def changed_since(self, before: PersonalTable) -> Tensor | None:
        """Return the rows in which a table may differ from an earlier state; None: it is no earlier one."""
        rows = torch.empty(0, dtype=torch.int64)
        while before is not self:
            if before._following is None:
                return None
            before, changed = before._following
            rows = united_rows(changed.rows, rows)
        return rows

    def mean(self, scenarios: Sequence[str], weights: Tensor) -> Tensor:
        """Return the mean (R, d) of some scenarios' tables, with weights (K,) that sum to one.

        A row in which they do not differ is its own mean.
        """
        averaged = self._whole_base()
        differing = torch.unique(torch.cat([self._own[scenario].rows for scenario in scenarios]))
        at_once = max(1, MEAN_VALUES_AT_ONCE // (averaged.shape[1] * len(scenarios)))
        for rows in differing.split(at_once):
            values = averaged[rows].repeat(len(scenarios), 1, 1)  # (K, n, d)
            for scenario, own in zip(scenarios, values, strict=True):
                self._own[scenario].over(rows, own)
            averaged[rows] = weighted_mean(values, weights)
        return averaged

    def state_dict(self) -> dict[str, Any]:
        """Return all tables, for a checkpoint."""
        own = {scenario: (kept.rows, kept.values) for scenario, kept in self._own.items()}
        return {"base": self._whole_base(), "own": own}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PersonalTable:
        """Return the tables that `state_dict` returned."""
        base = state["base"].clone()
        return cls(
            base, {scenario: OwnRows.of(rows, values, base[rows]) for scenario, (rows, values) in state["own"].items()}
        )

    def _followed_by(self, rows: Tensor, values: Tensor, own: Mapping[str, OwnRows]) -> PersonalTable:
        """Return the next state, in which some rows of the base (m,) have other values (m, d)."""
        if self._following is not None:
            raise ValueError("the table has changed since: change its last state")
        before = OwnRows.of(rows, self._base[rows], values)
        self._base.index_copy_(0, rows, values)
        self._following = PersonalTable(self._base, own, self._checksum - before.surplus), before
        return self._following[0]

    def _base_rows(self, rows: Tensor) -> Tensor:
        """Return some rows of the base as they were in this state, in memory of their own."""
        if self._following is None:
            return self._base.index_select(0, rows)
        following, before = self._following
        if rows is before.rows:
            return before.values.clone()
        return before.over(rows, following._base_rows(rows))

    def _whole_base(self) -> Tensor:
        if self._following is None:
            return self._base.clone()
        following, before = self._following
        return following._whole_base().index_copy_(0, before.rows, before.values)


@dataclass(frozen=True, slots=True)
class _Touched:
    """Rows that the scenarios of a round have touched.

    Attributes
    ----------
    rows
        Row numbers, ascending, (U,).
    shared
        Whether more than one scenario touched a row, (U,) bool.
    sender
        Number of a scenario that touched the row, (U,).
    alone
        Value of a row that one scenario alone touched, for all that count it, (U, d).
    senders, places, uses, values
        Scenario, place among the shared rows, uses (N,) and values (N, d) of each touch of a shared row.
    """

    rows: Tensor
    shared: Tensor
    sender: Tensor
    alone: Tensor
    senders: Tensor
    places: Tensor
    uses: Tensor
    values: Tensor

    @classmethod
    def of(cls, updates: Sequence[RowUpdate]) -> _Touched:
        """Gather the updates, of which the touches of a row keep their order."""
        each = torch.cat([update.rows for update in updates])
        rows, places, times = torch.unique(each, return_inverse=True, return_counts=True)
        senders = torch.arange(len(updates)).repeat_interleave(torch.tensor([len(update.rows) for update in updates]))
        values = torch.cat([update.values for update in updates])
        shared = times > 1
        sender = torch.empty_like(rows)
        sender[places] = senders
        alone = values.new_zeros(len(rows), *values.shape[1:])
        alone[places] = 0.0 + values  # as a sum that begins with zero, which has no negative zero
        many = shared[places]
        uses = torch.cat([update.counts for update in updates])[many].double()
        among = shared.cumsum(0) - 1
        return cls(rows, shared, sender, alone, senders[many], among[places[many]], uses, values[many])

    def not_alone(self, weights: Tensor) -> Tensor:
        """Return the places (m,) of the rows that are another's for a scenario: shared, or of one that it counts not.

        Parameters
        ----------
        weights
            Weight of one use of a row in each scenario (K,).
        """
        return (self.shared | (weights[self.sender] <= 0)).nonzero().flatten()

    def average_shared(self, values: Tensor, shared: Tensor, weights: Tensor) -> Tensor:
        """Put the weighted averages of the shared rows into a scenario's values, and return them.

        Parameters
        ----------
        values
            Values before the round (m, d), of all shared rows among others.
        shared
            Which of them are of shared rows (m,) bool.
        weights
            Weight of one use of a row in each scenario (K,) float64.
        """
        uses = weights[self.senders] * self.uses
        before = values[shared]
        totals = torch.zeros(len(before), dtype=torch.float64).index_add_(0, self.places, uses)
        share = (uses / totals[self.places]).to(values.dtype).unsqueeze(1)
        sums = torch.zeros_like(before).index_add_(0, self.places, share * self.values)
        values[shared] = torch.where((totals > 0).unsqueeze(1), sums, before)
        return values
