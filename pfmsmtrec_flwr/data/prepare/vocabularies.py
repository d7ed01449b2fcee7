"""Vocabularies, moments and counts that are learned from a scenario's own rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.encode.hashes import Buckets, HashCounter, HashedEncoder
from pfmsmtrec_flwr.data.prepare.columns import UNKNOWN
from pfmsmtrec_flwr.data.prepare.moments import MomentCollector, Standardiser
from pfmsmtrec_flwr.data.prepare.scenario_rows import (
    HASHES,
    LABELS,
    LEFT_OUT,
    NUMBERS,
    ROWS,
    SPLIT_CODES,
    USERS,
    ScenarioRows,
)
from pfmsmtrec_flwr.data.prepare.splits import TRAIN
from pfmsmtrec_flwr.data.read.blocks import Advance
from pfmsmtrec_flwr.data.schema.document import DatasetSchema
from pfmsmtrec_flwr.data.store.manifest import MISSING_LABEL, NO_USER, SPLITS

Counts: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Learned:
    """Encoders, moments and counts learned from a scenario's rows.

    Attributes
    ----------
    encoders
        Encoder of each field whose hashes were kept.
    standardiser
        Standardiser of the numeric columns.
    rows
        Number of rows of each split (3,).
    positives
        Number of positives of each split and task (3, T).
    labelled
        Number of rows that have a label, of each split and task (3, T).
    encodings
        Figures on the encoding of each field; see `encoding_report`.
    without_user
        Number of rows without a user; 0 if users are not kept.
    left_out
        Number of values beyond the largest number of a row, by field of several values. Sampled negatives do not count.
    """

    encoders: Mapping[str, HashedEncoder]
    standardiser: Standardiser
    rows: Counts
    positives: Counts
    labelled: Counts
    encodings: dict[str, dict[str, float]]
    without_user: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)


def learn(schema: DatasetSchema, rows: ScenarioRows, advance: Advance) -> Learned:
    """Learn from a scenario's rows in one pass.

    Parameters
    ----------
    schema
        Schema with the encoder of each field.
    rows
        All rows. Vocabularies, moments and shares come from the training rows only, and vocabularies not from sampled
        negatives.
    advance
        Called with the number of rows processed.
    """
    layout = rows.layout
    counters = {name: HashCounter() for name in layout.hashed}
    moments = MomentCollector(len(layout.numeric))
    unknown = np.zeros(len(layout.declared), dtype=np.int64)
    counts = np.zeros(len(SPLITS), dtype=np.int64)
    positives = np.zeros((len(SPLITS), len(layout.tasks)), dtype=np.int64)
    labelled = np.zeros_like(positives)
    without_user = 0
    left_out = np.zeros(len(layout.widths), dtype=np.int64)
    left = sum(spool.rows for spool in rows.spools)  # rows that are not sampled negatives
    for block in rows.blocks():
        codes = block[SPLIT_CODES]
        counts += np.bincount(codes, minlength=len(SPLITS))
        for code in range(len(SPLITS)):
            positives[code] += (block[LABELS][codes == code] == 1).sum(axis=0, dtype=np.int64)
            labelled[code] += (block[LABELS][codes == code] != MISSING_LABEL).sum(axis=0, dtype=np.int64)
        without_user += int((block[USERS] == NO_USER).sum()) if layout.users else 0
        if layout.widths and left > 0:
            left_out += block[LEFT_OUT].sum(axis=0, dtype=np.int64)
        training = codes == TRAIN
        if training.any():
            for name in layout.hashed if left > 0 else ():
                counters[name].add(block[HASHES][training, layout.place_of(name)[1]])
            moments.add(block[NUMBERS][training])
            for place, name in enumerate(layout.declared):
                unknown[place] += (block[ROWS][training, layout.place_of(name)[1]] == UNKNOWN).any(axis=1).sum()
        left -= len(codes)
        advance(len(codes))
    encoders = {name: _encoder(schema, name, counter) for name, counter in counters.items()}
    shares = dict(zip(layout.declared, unknown / max(1, counts[TRAIN]), strict=True))
    report = encoding_report(schema, counters, encoders, shares)
    surplus = dict(zip(layout.widths, left_out.tolist(), strict=True))
    return Learned(encoders, moments.standardiser(), counts, positives, labelled, report, without_user, surplus)


def encoding_report(
    schema: DatasetSchema,
    counters: Mapping[str, HashCounter],
    encoders: Mapping[str, HashedEncoder],
    unknown: Mapping[str, float],
) -> dict[str, dict[str, float]]:
    """Return figures on the encoding of each field for the manifest.

    A hashed field has ``values``, the number of distinct values in its training rows, and ``colliding``, the share of
    these that share their row with another value. A field with declared values or numbers has ``unknown``, the share
    of training rows with any other value.
    """
    report: dict[str, dict[str, float]] = {}
    for name in schema.fields:
        encoder = encoders.get(name)
        if isinstance(encoder, Buckets):
            values = counters[name].values()
            report[name] = {"values": len(values), "colliding": encoder.colliding(values) / max(1, len(values))}
        elif name in unknown:
            report[name] = {"unknown": float(unknown[name])}
    return report


def _encoder(schema: DatasetSchema, name: str, counter: HashCounter) -> HashedEncoder:
    spec = schema.fields[name]
    if spec.hash is not None:
        return Buckets(spec.hash.buckets)
    if spec.vocabulary is None:
        raise ValueError(f"hashes of '{name}' were kept, but its encoder has no use for them")
    return counter.vocabulary(spec.vocabulary)
