"""Encoded rows of a scenario, and the writer of its store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pfmsmtrec_flwr.data.arrays import Array
from pfmsmtrec_flwr.data.prepare.days import day_record
from pfmsmtrec_flwr.data.prepare.scenario_encoder import ScenarioEncoder
from pfmsmtrec_flwr.data.prepare.scenario_rows import LABELS, NUMBERS, SPLIT_CODES, USERS, ScenarioRows
from pfmsmtrec_flwr.data.prepare.splits import SplitPlan
from pfmsmtrec_flwr.data.prepare.vocabularies import Learned
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.store.manifest import JSON, SPLITS
from pfmsmtrec_flwr.data.store.writer import StoreWriter


def store_writer(schema: DatasetSchema, rows: ScenarioRows, learned: Learned, data_root: Path) -> StoreWriter:
    """Return the writer of a scenario's store, as a context manager to enter."""
    return StoreWriter(
        data_root / schema.name / rows.scenario,
        dataset=schema.name,
        scenario=rows.scenario,
        fields=scenario_encoder(schema, rows, learned).stored_fields(),
        numeric=list(schema.numeric),
        tasks=list(rows.layout.tasks),
        schema_hash=schema.schema_hash,
        users=rows.layout.users,
        unlabelled=[name for name, task in schema.tasks.items() if task.unlabelled == "skip"],
    )


def scenario_encoder(schema: DatasetSchema, rows: ScenarioRows, learned: Learned) -> ScenarioEncoder:
    """Return the encoders and moments that were learned from a scenario's rows, with their schema."""
    return ScenarioEncoder(schema, rows.scenario, learned.encoders, learned.standardiser)


def encoded_rows(schema: DatasetSchema, rows: ScenarioRows, learned: Learned) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield encoded rows, each time those of one split in a block."""
    places = {name: rows.layout.place_of(name) for name in schema.fields}
    encoder = scenario_encoder(schema, rows, learned)

    def values_in(block: dict[str, Array], name: str) -> Array:
        array, columns = places[name]
        return block[array][:, columns]

    for block in rows.blocks():
        arrays: dict[str, Array] = {
            "categorical": encoder.categorical(partial(values_in, block), len(block[SPLIT_CODES])),
            "numeric": learned.standardiser.apply(block[NUMBERS]),
            "labels": block[LABELS],
        }
        if rows.layout.users:
            arrays["users"] = block[USERS]
        for code, split in enumerate(SPLITS):
            mine = block[SPLIT_CODES] == code
            if mine.all():
                yield split, arrays
            elif mine.any():
                yield split, {name: values[mine] for name, values in arrays.items()}


def store_record(schema: DatasetSchema, plan: SplitPlan, rows: ScenarioRows, learned: Learned) -> dict[str, JSON]:
    """Return the additional entries of a store's manifest."""
    moments = learned.standardiser
    numeric: dict[str, JSON] = {
        column: {"mean": float(mean), "std": float(deviation)}
        for column, mean, deviation in zip(schema.numeric, moments.mean, moments.deviation, strict=True)
    }
    record: dict[str, JSON] = {
        "title": schema.title,
        "split": plan.description,
        "numeric": numeric,
        "encodings": {field: dict(report) for field, report in learned.encodings.items()},
    }
    record |= day_record(schema, rows)
    if learned.without_user:
        record["rows_without_user"] = learned.without_user
    if any(learned.left_out.values()):
        record["values_left_out"] = dict(learned.left_out)
    spec = schema.negatives
    if spec is not None and rows.made_up is not None:
        record["negatives"] = {"task": spec.task, "per_positive": spec.per_positive, "rows": rows.made_up.rows}
    return record
