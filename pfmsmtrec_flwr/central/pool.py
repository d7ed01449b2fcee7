"""Pooling: the rows of all scenarios as if they were one scenario's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.store.manifest import SPLITS, Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec
from pfmsmtrec_flwr.training.description import training_rows

Identities = Literal["private", "shared"]
"""Treatment of a person whom two scenarios know: as two people, as in a federation, or as one."""

SCENARIO_FIELD = "scenario"


@dataclass(frozen=True, slots=True)
class Pool:
    """Rows of several scenarios, one scenario after the other.

    Attributes
    ----------
    spec
        Specification of a model of these rows. Its last field is the number of the scenario, counted from 1.
    splits
        All rows of each split.
    ranges
        Range of each scenario's rows, by split and scenario.
    table_rows
        For each scenario and field, the rows of the pool's table that stand for the values of the scenario's own
        vocabulary.
    """

    spec: ModelSpec
    splits: Mapping[str, Split]
    ranges: Mapping[str, Mapping[str, slice]]
    table_rows: Mapping[str, Sequence[Array]]

    def of(self, split: str, scenario: str) -> Split:
        """Return a scenario's rows of a split as views, without a copy."""
        rows, whole = self.ranges[split][scenario], self.splits[split]
        return Split(
            whole.categorical[rows],
            whole.numeric[rows],
            whole.labels[rows],
            None if whole.users is None else whole.users[rows],
            None if whole.probabilities is None else whole.probabilities[rows],
            whole.unlabelled,
        )


def pool_rows(stores: Sequence[ScenarioStore], config: RunConfig, identities: Identities = "private") -> Pool:
    """Pool the rows of scenarios, with those training rows that the run uses.

    A federated field has the same vocabulary in all scenarios. For a local field, each scenario's vocabulary has rows
    of its own in the pool's table. The value 0 stays 0, which stands for unseen values.

    Parameters
    ----------
    stores
        Prepared data of the scenarios.
    config
        Configuration of the run.
    identities
        ``shared`` replaces a local field that stands for the user by one vocabulary of all scenarios' users.

    Raises
    ------
    UserError
        The scenarios differ in their tasks, fields or schema. Or identities are to be shared, but a scenario has no
        users or no field stands for them.
    """
    _check_alike(stores)
    translations, sizes = _behind_each_other(stores)
    identity = _identity_columns(stores) if identities == "shared" else {}
    known = _known_users(stores, identity.values())
    for field, column in identity.items():
        sizes[field] = 1 + len(known[column])
    splits: dict[str, Split] = {}
    ranges: dict[str, dict[str, slice]] = {}
    for name in SPLITS:
        parts = [training_rows(store, config) if name == "train" else store.splits[name] for store in stores]
        categorical = [
            _translate(part, translation, known, number)
            for number, (part, translation) in enumerate(zip(parts, translations, strict=True), start=1)
        ]
        splits[name] = _concatenate(parts, categorical)
        ranges[name] = _ranges([store.scenario for store in stores], parts)
    spec = _spec(stores, sizes)
    table_rows = {
        store.scenario: _table_rows(store, spec, translation, identity, known)
        for store, translation in zip(stores, translations, strict=True)
    }
    return Pool(spec, splits, ranges, table_rows)


def _check_alike(stores: Sequence[ScenarioStore]) -> None:
    for one, other in pairwise(stores):
        for what, mine, theirs in (
            ("the tasks", one.tasks, other.tasks),
            ("the fields", _described(one), _described(other)),
            ("the numeric columns", one.numeric, other.numeric),
            ("the schema", (one.schema_hash[:8],), (other.schema_hash[:8],)),
        ):
            if mine != theirs:
                raise UserError(
                    f"only scenarios that are alike can be pooled, but {one.scenario} has {what} {_listed(mine)} and "
                    f"{other.scenario} has {_listed(theirs)}: leave one of them out of federation.scenarios, or "
                    "prepare both alike"
                )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _described(store: ScenarioStore) -> tuple[str, ...]:
    names = [field.name if field.most == 1 else f"{field.name} (up to {field.most} values)" for field in store.fields]
    return tuple(
        f"{name} ({field.size} rows)" if field.federated else name
        for name, field in zip(names, store.fields, strict=True)
    )


def _behind_each_other(stores: Sequence[ScenarioStore]) -> tuple[Array, list[int]]:
    """Return the offset of each scenario's values of each column (K, C), and the rows of the pool's tables (F)."""
    own = np.array([[field.size - 1 for field in store.fields] for store in stores], dtype=np.int64)
    own = own.reshape(len(stores), -1)  # also for stores without fields
    local = np.array([not field.federated for field in stores[0].fields], dtype=bool)
    before = np.where(local, np.cumsum(own, axis=0) - own, 0)
    sizes = 1 + np.where(local, own.sum(axis=0), own[0])
    columns = [field.most for field in stores[0].fields]
    return np.repeat(before.astype(np.int32), columns, axis=1), [int(size) for size in sizes]


def _translate(part: Split, before: Array, known: Mapping[int, Array], number: int) -> Array:
    """Return the pool's values of a scenario's rows (n, C + 1), with the scenario's number last."""
    values = np.empty((len(part), part.categorical.shape[1] + 1), dtype=np.int32)
    np.add(part.categorical, before, out=values[:, :-1])
    np.copyto(values[:, :-1], 0, where=part.categorical == 0)
    for column, users in known.items():
        values[:, column] = _numbers(users, _users_of(part))
    values[:, -1] = number
    return values


def _table_rows(
    store: ScenarioStore, spec: ModelSpec, before: Array, identity: Mapping[int, int], known: Mapping[int, Array]
) -> list[Array]:
    """Return the rows of each field's table in the pool, in the order of the scenario's own values."""
    starts = accumulate((field.most for field in store.fields), initial=0)
    found = []
    for place, (start, field) in enumerate(zip(starts, store.fields, strict=False)):
        own = np.arange(field.size, dtype=np.int64)
        own[1:] += before[start]
        if place in identity:
            rows = store.splits["train"]
            values, first = np.unique(rows.categorical[:, identity[place]], return_index=True)
            own = np.zeros(field.size, dtype=np.int64)
            own[values] = _numbers(known[identity[place]], _users_of(rows)[first])
            own[0] = 0
        found.append(own)
    return [*found, np.arange(spec.fields[-1].rows, dtype=np.int64)]


def _numbers(vocabulary: Array, values: Array) -> Array:
    """Return the position of each value in an ascending vocabulary, counted from 1; 0 for a value that is absent."""
    places = np.searchsorted(vocabulary, values)
    found = vocabulary[np.minimum(places, len(vocabulary) - 1)] == values
    return np.where(found, places + 1, 0)


def _identity_columns(stores: Sequence[ScenarioStore]) -> dict[int, int]:
    """Return the column of each local field, by its position, that stands for the user in every scenario."""
    if without := [store.scenario for store in stores if store.splits["train"].users is None]:
        raise UserError(
            f"identities cannot be shared, because scenario {without[0]} has no users: name their column under the key "
            "'users' of the data set's YAML file and prepare it again, or take a method that keeps identities private"
        )
    starts = accumulate((field.most for field in stores[0].fields), initial=0)
    columns = {
        place: column
        for place, (column, field) in enumerate(zip(starts, stores[0].fields, strict=False))
        if not field.federated
        and field.most == 1
        and all(_stands_for_users(store.splits["train"], column) for store in stores)
    }
    if not columns:
        local = _listed([field.name for field in stores[0].fields if not field.federated])
        raise UserError(
            "identities cannot be shared, because no local field has exactly one value for each user and another for "
            f"every other user (local fields: {local}): take a method that keeps identities private"
        )
    return columns


def _stands_for_users(rows: Split, column: int) -> bool:
    """Return whether the known values of a field and the users of their rows determine each other."""
    values = np.asarray(rows.categorical[:, column])
    known = values > 0  # users too rare for the vocabulary have the value 0
    users, values = _users_of(rows)[known], values[known]
    if not len(values):
        return False
    order = np.argsort(users, kind="stable")
    users, values = users[order], values[order]
    another_user = users[1:] != users[:-1]
    of_users = values[np.concatenate(([True], another_user))]
    one_value_each = not (another_user < (values[1:] != values[:-1])).any()
    return one_value_each and len(np.unique(of_users)) == len(of_users)


def _known_users(stores: Sequence[ScenarioStore], columns: Iterable[int]) -> dict[int, Array]:
    """Return the users that some scenario's vocabulary knows, ascending, for each of the columns."""
    return {
        column: np.unique(
            np.concatenate(
                [
                    _users_of(rows)[rows.categorical[:, column] > 0]
                    for rows in (store.splits["train"] for store in stores)
                ]
            )
        )
        for column in columns
    }


def _users_of(rows: Split) -> Array:
    if rows.users is None:
        raise TypeError("rows without users among rows with them")
    return np.asarray(rows.users)


def _concatenate(parts: Sequence[Split], categorical: Sequence[Array]) -> Split:
    users = [part.users for part in parts if part.users is not None]
    truths = [part.probabilities for part in parts if part.probabilities is not None]
    return Split(
        categorical=np.concatenate(categorical),
        numeric=np.concatenate([part.numeric for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        users=np.concatenate(users) if len(users) == len(parts) else None,
        probabilities=np.concatenate(truths) if len(truths) == len(parts) else None,
        unlabelled=any(part.unlabelled for part in parts),
    )


def _ranges(scenarios: Sequence[str], parts: Sequence[Split]) -> dict[str, slice]:
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return {name: slice(end - len(part), end) for name, part, end in zip(scenarios, parts, ends, strict=True)}


def _spec(stores: Sequence[ScenarioStore], sizes: Sequence[int]) -> ModelSpec:
    first = stores[0]
    fields = (*first.fields, Field(SCENARIO_FIELD, 1 + len(stores), federated=False))
    rows = (*sizes, 1 + len(stores))
    return ModelSpec(
        fields=tuple(
            FieldSpec(field.name, size, field.federated, field.most) for field, size in zip(fields, rows, strict=True)
        ),
        numeric=len(first.numeric),
        tasks=first.tasks,
        scenarios=len(stores),
    )
