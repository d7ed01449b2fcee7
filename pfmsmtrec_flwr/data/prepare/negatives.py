"""Sampled negatives for tables that hold positive rows only: a user with an item for which the user has no row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.encode.hashes import Hashes
from pfmsmtrec_flwr.data.prepare.scenario_rows import LABELS, USERS, ScenarioRows
from pfmsmtrec_flwr.data.prepare.spool import SpoolWriter
from pfmsmtrec_flwr.data.read.blocks import Advance
from pfmsmtrec_flwr.data.schema.task_sections import NegativesSection
from pfmsmtrec_flwr.seeds import derive_seed

_TRIES = 20


def add_negatives(spec: NegativesSection, rows: ScenarioRows, folder: Path, advance: Advance) -> ScenarioRows:
    """Append sampled negatives to a scenario's rows.

    For each row with the label 1, `spec.per_positive` items are drawn. All items of the scenario have the same
    probability. An item for which the user has a row in any split is drawn again; after 20 tries none is added. The
    negative has the split and the user of its positive row, the features of the drawn item, and the label 0 in every
    task.

    Parameters
    ----------
    spec
        Section of the schema.
    rows
        Rows of the scenario. Some 40 bytes of each are kept in memory, and 70 while they are sorted.
    folder
        Folder for the negatives.
    advance
        Called with the number of rows processed.
    """
    drawer = _Drawer(spec, rows)
    task = rows.layout.tasks.index(spec.task)
    with SpoolWriter(folder, rows.layout.arrays()) as writer:
        for number, block in enumerate(rows.blocks()):
            positive = np.flatnonzero(block[LABELS][:, task] == 1)
            generator = np.random.default_rng(derive_seed(spec.seed, "negatives", rows.scenario, number))
            repeated = np.repeat(positive, spec.per_positive)
            items, found = drawer.draw(block[USERS][repeated], generator)
            made = {name: values[repeated[found]] for name, values in block.items()}
            made[LABELS] = np.zeros_like(made[LABELS])
            drawer.put_items(made, items[found])
            writer.append(made)
            advance(len(block[USERS]))
        return replace(rows, made_up=writer.finish())


class _Drawer:
    """Draws items for which a user has no row, and finds a row with the features of each item."""

    def __init__(self, spec: NegativesSection, rows: ScenarioRows) -> None:
        self._places = [rows.layout.place_of(name) for name in (spec.item, *spec.item_features)]
        self._spools = rows.spools
        array, column = self._places[0]
        items = _whole([spool.column(array)[:, column.start] for spool in rows.spools])
        distinct, first = np.unique(items, return_index=True)
        known = distinct > 0  # neither missing nor unknown
        self._items, self._row_of_item = distinct[known], first[known]
        self._starts = np.cumsum([0, *(spool.rows for spool in rows.spools)])
        users = _whole([spool.column(USERS) for spool in rows.spools])
        self._pairs = np.unique(_pairs(users, items.astype(np.uint64)))

    def draw(self, users: Array, generator: np.random.Generator) -> tuple[Array, Array]:
        """Return the position of a drawn item for each user, and whether the user has no row for it."""
        drawn = np.zeros(len(users), dtype=np.int64)
        open_places = np.arange(len(users))
        for _ in range(_TRIES):
            if not len(open_places) or not len(self._items):
                break
            drawn[open_places] = generator.integers(0, len(self._items), len(open_places))
            pairs = _pairs(users[open_places], self._items[drawn[open_places]].astype(np.uint64))
            place = np.minimum(np.searchsorted(self._pairs, pairs), len(self._pairs) - 1)
            open_places = open_places[self._pairs[place] == pairs]
        found = np.ones(len(users), dtype=bool)
        found[open_places] = False
        return drawn, found

    def put_items(self, made: dict[str, Array], items: Array) -> None:
        """Set the features of items in rows, as in the first row of each item."""
        rows = self._row_of_item[items]
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        for number, spool in enumerate(self._spools):
            mine = np.flatnonzero(owner == number)
            if not len(mine):
                continue
            for array in dict.fromkeys(array for array, _ in self._places):
                columns = np.concatenate([np.r_[column] for name, column in self._places if name == array])
                taken = spool.take(array, rows[mine] - self._starts[number])
                made[array][np.ix_(mine, columns)] = taken[:, columns]


def _whole(parts: list[Array]) -> Array:
    return np.concatenate(parts) if len(parts) > 1 else np.ascontiguousarray(parts[0])


def _pairs(users: Array, items: Hashes) -> Hashes:
    """Return a 64-bit hash of each pair of user and item."""
    mixed = users.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ items * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    pairs: Hashes = mixed ^ (mixed >> np.uint64(32))
    return pairs
