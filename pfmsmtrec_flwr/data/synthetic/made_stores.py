"""Stores of made-up scenarios: their names, and how they are made when they are wanted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.store.listing import is_store
from pfmsmtrec_flwr.data.store.manifest import SPLITS, STORE_VERSION
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.data.store.writer import StoreWriter
from pfmsmtrec_flwr.data.synthetic.generator import RowGenerator, one_thread
from pfmsmtrec_flwr.data.synthetic.layout import NUMERIC, TASKS, stored_fields
from pfmsmtrec_flwr.data.synthetic.settings import SyntheticSettings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger

GENERATOR_VERSION = 1  # part of a data set's name: another generator never opens this one's stores


def synthetic_dataset_name(settings: SyntheticSettings) -> str:
    """Return the name under which stores of these settings are kept, ``synthetic-<8 hex digits>``."""
    return f"synthetic-{_digest(settings)[:8]}"


def ensure_synthetic(
    settings: SyntheticSettings, scenario: str, data_root: Path, *, verify: bool = False
) -> ScenarioStore:
    """Open the store ``<data_root>/<synthetic_dataset_name>/<scenario>``; a missing or damaged one is made first.

    Any number of processes may do it at once. With `verify`, checksums tell whether a store is damaged.

    Raises
    ------
    UserError
        `settings` has no such scenario, a task has one class in its training rows, or the folder cannot be written.
    """
    settings.check_scenario(scenario)
    path = data_root / synthetic_dataset_name(settings) / scenario
    if is_store(path):
        try:
            return ScenarioStore.open(path, verify=verify)
        except UserError as error:
            logger.warning("made again: %s", error)
    with one_thread():
        return _write(settings, scenario, path)


def _write(settings: SyntheticSettings, scenario: str, path: Path) -> ScenarioStore:
    generator = RowGenerator.of(settings, scenario)
    writer = StoreWriter(
        path,
        dataset=path.parent.name,
        scenario=scenario,
        fields=stored_fields(),
        numeric=NUMERIC,
        tasks=TASKS,
        schema_hash=_digest(settings),
        users=True,
        probabilities=True,
    )
    with writer:
        for split in SPLITS:
            positives = np.zeros(len(TASKS), dtype=np.int64)
            for part in generator.chunks(split):
                writer.append(
                    split,
                    categorical=part.categorical,
                    numeric=part.numeric,
                    labels=part.labels,
                    users=part.users,
                    probabilities=part.probabilities,
                )
                positives += part.positives()
            if split == "train":
                _check_classes(settings, scenario, positives)
        return writer.commit({"synthetic": settings.model_dump(mode="json")})


def _check_classes(settings: SyntheticSettings, scenario: str, positives: npt.NDArray[np.int64]) -> None:
    rows = settings.train_rows[scenario]
    for task, count in zip(TASKS, positives, strict=True):
        if count in (0, rows):
            raise UserError(
                f"made-up scenario {scenario}: {count} positives of {task} in {rows} training rows, expected both "
                "classes; change train_rows, ctr or conversions_per_click"
            )


def _digest(settings: SyntheticSettings) -> str:
    fields = [(field.name, field.size, field.federated) for field in stored_fields()]
    document = [GENERATOR_VERSION, STORE_VERSION, fields, NUMERIC, TASKS, settings.model_dump(mode="json")]
    return hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16).hexdigest()
