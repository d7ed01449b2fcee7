"""The rows of the federated embedding table that a scenario uses, where they are few.

A scenario with few impressions needs few rows of a large table. Its model then holds these rows alone, and the values
of its federated fields are numbered anew to match: opening, training and measuring it cost the rows in use, whatever
the size of the table. Each row trains as it would among all others, to the bit. What the server sends and gets, and
what the scenario keeps, are rows of the whole table.

Examples
--------
>>> import torch
>>> from pathlib import Path
>>> import numpy as np
>>> from pfmsmtrec_flwr.data.store.manifest import Field
>>> from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
>>> from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
>>> from pfmsmtrec_flwr.federation.client.used_rows import TABLE, UsedRows
>>> rows = np.array([[7, 1], [7, 2]], dtype=np.int32)  # (n, F)
>>> split = Split(rows, np.zeros((2, 0), np.float32), np.zeros((2, 1), np.uint8), users=None, probabilities=None)
>>> fields = (Field("item", 9, True), Field("page", 3, True))
>>> store = ScenarioStore(Path(), "shop", "NL", fields, (), ("ctr",), "1f", {"train": split})
>>> used = UsedRows.of(store)
>>> used.rows.tolist()  # of the stacked table: item 0 and 7, page 0, 1 and 2
[0, 7, 9, 10, 11]
>>> [field.size for field in used.store.fields], used.store.splits["train"].categorical.tolist()
([2, 3], [[1, 1], [1, 2]])
>>> used.part(TABLE, TableCopy.of(torch.arange(12.0).unsqueeze(1))).flatten().tolist()
[0.0, 7.0, 9.0, 10.0, 11.0]
>>> used.numbers(TABLE, torch.tensor([1, 4])).tolist()
[7, 11]
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.manifest import Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.federation.client import table_copies
from pfmsmtrec_flwr.federation.client.table_copies import TableCopy
from pfmsmtrec_flwr.federation.protocol import Tensors
from pfmsmtrec_flwr.model.build import ARCHITECTURES

TABLE = "federated_embeddings.weight"
"""Name of the federated table in each architecture of this package."""
ADAM_AT_ONCE = 8
"""Values that a step of Adam takes at once. In a shorter rest of a table a step has other last bits."""
ROWS_PER_USE = 4
"""Rows of a table per value of its fields in all impressions of a scenario, from which its model holds those in use."""


@dataclass(frozen=True, slots=True)
class UsedRows:
    """Rows of the federated table that a scenario's model holds.

    Attributes
    ----------
    whole
        Prepared rows of the scenario.
    store
        The same, with the values of federated fields numbered as the model's rows are.
    rows
        Numbers of the model's rows in the whole table, ascending, (n,) int64; None: the model holds all.
    """

    whole: ScenarioStore
    store: ScenarioStore
    rows: Tensor | None

    @classmethod
    def all_of(cls, store: ScenarioStore) -> UsedRows:
        """Return all rows of the table."""
        return cls(store, store, None)

    @classmethod
    def of(cls, store: ScenarioStore) -> UsedRows:
        """Return the rows that some impression of a scenario uses, and those that stand for unseen values."""
        categorical = {name: np.array(split.categorical) for name, split in store.splits.items()}
        fields, rows, start = list(store.fields), [], 0
        for place, field, columns in federated_fields(store):
            values = [own[:, columns] for own in categorical.values()]
            used, numbers = np.unique(np.concatenate([[0], *map(np.ravel, values)]), return_inverse=True)
            ends = np.cumsum([1, *(own.size for own in values)])
            for own, first, end in zip(values, ends[:-1], ends[1:], strict=True):
                own[...] = numbers[first:end].reshape(own.shape)
            fields[place] = replace(field, size=len(used))
            rows.append(used + start)
            start += field.size
        splits = {name: replace(split, categorical=categorical[name]) for name, split in store.splits.items()}
        numbered = replace(store, fields=tuple(fields), splits=splits)
        return cls(store, numbered, torch.from_numpy(np.concatenate(rows).astype(np.int64)))

    @property
    def fingerprint(self) -> float | None:
        """Number by which the rows are known again; None: the model holds all."""
        return None if self.rows is None else float(zlib.crc32(self.rows.numpy().tobytes()))

    def form(self, name: str, held: Tensor) -> Tensor:
        """Return the shape and type of a whole table, as a tensor without values, from what the model holds of it."""
        rows = len(held)
        if self.rows is not None and name == TABLE:
            rows = sum(field.size for _, field, _ in federated_fields(self.whole))
        return torch.empty(rows, *held.shape[1:], dtype=held.dtype, device="meta")

    def part(self, name: str, copy: TableCopy) -> Tensor:
        """Return what the model holds of a table (n, d), which nobody may change."""
        return copy.table() if self.rows is None or name != TABLE else copy.rows_of(self.rows)

    def parts(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Return whole tensors with what the model holds of the table in its place."""
        whole = {TABLE: self.part(TABLE, TableCopy.of(tensors[TABLE]))} if TABLE in tensors else {}
        return {**tensors, **whole}

    def numbers(self, name: str, rows: Tensor) -> Tensor:
        """Return the numbers in a whole table of rows (m,) of the model's."""
        return rows if self.rows is None or name != TABLE else self.rows[rows]


def few_rows_serve(store: ScenarioStore, config: RunConfig) -> bool:
    """Return whether a scenario uses few rows of a large table, and no other row of it would move in training."""
    train, uses, rows = config.train, 0, 0
    for _, field, columns in federated_fields(store):
        rows += field.size
        uses += sum(len(split) for split in store.splits.values()) * (columns.stop - columns.start)
    few = rows >= max(table_copies.LARGE_ROWS, ROWS_PER_USE * uses)
    whole_steps = config.model.embedding_dim % ADAM_AT_ONCE == 0 and not train.weight_decay
    none_moves = train.embedding_optimizer == "adagrad" or whole_steps
    alone = not config.privacy.noise and not train.ema_decay  # all rows get noise, and a mean spans all rows
    return few and none_moves and alone and config.model.architecture in ARCHITECTURES


def federated_fields(store: ScenarioStore) -> Iterator[tuple[int, Field, slice]]:
    """Yield the place of each federated field, the field, and its columns in the categorical input."""
    start = 0
    for place, field in enumerate(store.fields):
        if field.federated:
            yield place, field, slice(start, start + field.most)
        start += field.most
