"""Paired bootstrap over the test users of one or several comparisons, from the predictions that their runs kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pfmsmtrec_flwr.config import DataSettings
from pfmsmtrec_flwr.data.scenarios import open_store, shares_users
from pfmsmtrec_flwr.data.store.manifest import NO_USER
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.results.bootstrap import Bootstrap
from pfmsmtrec_flwr.results.differences import bootstrap_of
from pfmsmtrec_flwr.results.predictions import read_predictions
from pfmsmtrec_flwr.results.replicates import LabelledRows, Prediction, Replicates
from pfmsmtrec_flwr.results.summarizing import ALONE
from pfmsmtrec_flwr.results.summary import Counted

DRAW_SEED = 20250313
"""Seed of the draws of users: one for all comparisons."""


@dataclass(frozen=True, slots=True)
class Source:
    """Finished runs of one comparison, and their test rows.

    Attributes
    ----------
    name
        Name of the comparison, which keeps its scenarios apart from another one's; empty if there is no other.
    folder
        Folder of the comparison.
    runs
        Runs, with their folders.
    scenarios
        Names of the scenarios.
    settings, data
        Settings of the data, and folder of the prepared stores.
    """

    name: str
    folder: Path
    runs: Sequence[Counted]
    scenarios: Sequence[str]
    settings: DataSettings
    data: Path

    def key(self, scenario: str) -> str:
        """Return the name of a scenario among those of all comparisons."""
        return f"{self.name}/{scenario}" if self.name else scenario


@dataclass(frozen=True, slots=True)
class Evidence:
    """Figures of the runs in draws of their test users.

    Attributes
    ----------
    replicates
        AUC in each draw.
    unit
        Kind of unit that is drawn, in words.
    missing
        Variants of which a run left no predictions; they have no figures.
    """

    replicates: Replicates
    unit: str
    missing: tuple[str, ...]

    def bootstrap(self, reference: str) -> Bootstrap:
        """Return the differences between the variants."""
        found = bootstrap_of(self.replicates, reference, ALONE, self.unit)
        return found.model_copy(update={"missing": list(self.missing)})


def evidence_of(sources: Sequence[Source], draws: int) -> Evidence | None:
    """Draw the test users of comparisons, once for all, and measure every prediction in each draw.

    A user of several scenarios, or of several comparisons on one prepared data set, is drawn for all of them at once.

    Parameters
    ----------
    sources
        The comparisons.
    draws
        Number of draws.

    Returns
    -------
    Evidence or None
        None where no variant has predictions of all of its runs, or nothing is to be drawn.

    Raises
    ------
    UserError
        Predictions are damaged, or do not fit the prepared data.
    """
    found = [each for source in sources for each in _predictions(source)]
    missing = {variant for variant, prediction in found if prediction is None}
    kept = [each for variant, each in found if each is not None and variant not in missing]
    if not kept or not draws:
        return None
    stores = {
        source.key(name): (source, open_store(source.settings, source.data, name))
        for source in sources
        for name in source.scenarios
    }
    rows = _labelled({key: (_people(*each), each[1]) for key, each in stores.items()})
    for each in kept:
        expected = rows[each.scenario].labels.shape
        if each.probabilities.shape != expected:
            raise UserError(
                f"predictions of {each.variant} in {each.scenario} have the shape {each.probabilities.shape}, its test "
                f"rows {expected}: were the data prepared anew? Then run the comparison into a new folder"
            )
    has_user = np.concatenate([_users(store) != NO_USER for _, store in stores.values()])
    unit = "users" if has_user.all() else "users, and rows without a user" if has_user.any() else "rows"
    replicates = Replicates(rows, kept, draws=draws, seed=DRAW_SEED)
    return Evidence(replicates, unit, tuple(name for name in _variants(sources) if name in missing))


def _variants(sources: Iterable[Source]) -> Iterable[str]:
    return dict.fromkeys(run.variant for source in sources for run in source.runs)


def _predictions(source: Source) -> Iterable[tuple[str, Prediction | None]]:
    """Return each run's predictions in each scenario; None where there are none that could be ranked."""
    for run in source.runs:
        for name in source.scenarios:
            kept = read_predictions(source.folder / run.folder, name)
            if kept is None or np.isnan(kept).any():
                yield run.variant, None
            else:
                yield run.variant, Prediction(run.variant, run.seed, source.key(name), kept)


def _people(source: Source, store: ScenarioStore) -> str:
    """Return a name of the people whom a store's users are of: equal names share users."""
    if shares_users(store):
        return source.settings.name
    world = [source.settings.name, dict(source.settings.synthetic), store.scenario]
    return json.dumps(world, sort_keys=True, default=str)


def _labelled(stores: Mapping[str, tuple[str, ScenarioStore]]) -> dict[str, LabelledRows]:
    """Return the test rows by scenario, with users numbered over all of them; a row without a user is one by itself."""
    users = {key: _users(store) for key, (_, store) in stores.items()}
    units: dict[str, NDArray[np.int64]] = {}
    first = 0
    for key, own in users.items():
        alone = own == NO_USER
        units[key] = first + np.cumsum(alone) - 1
        first += int(alone.sum())
    for people in dict.fromkeys(people for people, _ in stores.values()):
        keys = [key for key, (named, _) in stores.items() if named == people]
        known, numbers = np.unique(
            np.concatenate([users[key][users[key] != NO_USER] for key in keys]), return_inverse=True
        )
        numbers += first
        for key in keys:
            there = users[key] != NO_USER
            units[key][there], numbers = np.split(numbers, [there.sum()])
        first += len(known)
    return {key: _labelled_rows(store, units[key]) for key, (_, store) in stores.items()}


def _labelled_rows(store: ScenarioStore, units: NDArray[np.int64]) -> LabelledRows:
    test = store.splits["test"]
    rows = {task: test.rows_of(column) for column, task in enumerate(store.tasks)}
    counted = {task: own for task, own in rows.items() if not isinstance(own, slice)}
    return LabelledRows(store.tasks, np.asarray(test.labels), units, counted)


def _users(store: ScenarioStore) -> NDArray[np.int64]:
    """Return the user of each test row (n,), `NO_USER` where there is none."""
    test = store.splits["test"]
    return np.full(len(test), NO_USER) if test.users is None else np.asarray(test.users)
