"""Values of a field that two preparations of a scenario have in common: the rows of their embedding tables in both.

Rows are matched by value, through the encoders of both preparations, because the number of a value changes when a
vocabulary grows or its order by frequency turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pfmsmtrec_flwr.data.encode.encoders import declared_encoder
from pfmsmtrec_flwr.data.encode.hashes import HashedEncoder, LearnedVocabulary
from pfmsmtrec_flwr.data.prepare.scenario_encoder import ScenarioEncoder
from pfmsmtrec_flwr.data.schema.feature_sections import FieldSection
from pfmsmtrec_flwr.data.schema.spelling import canonical
from pfmsmtrec_flwr.errors import UserError

Rows = npt.NDArray[np.int64]

_ENCODERS = ("identity", "hash", "values", "bands", "vocabulary")


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Rows of one field's table that stand for the same value before and now, row 0 included.

    Attributes
    ----------
    before, now
        Row of each kept value in the earlier table and in the present one, (n,) each.
    """

    before: Rows
    now: Rows


def kept_rows(field: str, before: ScenarioEncoder, now: ScenarioEncoder) -> KeptRows:
    """Return the rows of the values of a field that both preparations know.

    Parameters
    ----------
    field
        Name of the field, which both have.
    before, now
        Encoders of the earlier and of the present preparation.

    Raises
    ------
    UserError
        The field is encoded in another way now, so that a row does not stand for the same value, or its table was local
        and is federated now, or the reverse.
    """
    was, spec = before.schema.fields[field], now.schema.fields[field]
    _require_same_meaning(field, was, spec, now.scenario)
    if was.vocabulary is not None:
        return _kept_of_vocabulary(before.encoders[field], now.encoders[field])
    if was.hash is not None:
        return _same_rows(was.hash.buckets + 1)
    if was.bands is not None:
        return _same_rows(len(was.bands) + 2)
    if was.identity is not None and spec.identity is not None:
        return _same_rows(min(was.identity.size, spec.identity.size) + 1)
    return _kept_of_declared(field, before, now)


def _kept_of_vocabulary(before: HashedEncoder, now: HashedEncoder) -> KeptRows:
    if not isinstance(before, LearnedVocabulary) or not isinstance(now, LearnedVocabulary):
        raise TypeError("a learned vocabulary is missing")
    return _kept_of(now.rows(before.hashes).astype(np.int64))


def _kept_of_declared(field: str, before: ScenarioEncoder, now: ScenarioEncoder) -> KeptRows:
    """Return the rows of declared values, by their canonical texts."""
    spec = before.schema.fields[field]
    form = before.schema.form_of(spec.columns(field)[0])
    texts = np.array(list(dict.fromkeys(canonical(value, form) for value in spec.values or ())), dtype=object)
    present = now.schema.fields[field]
    encoder = declared_encoder(present, now.schema.form_of(present.columns(field)[0]))
    if encoder is None:
        raise TypeError(f"field '{field}' declares no values")
    return _kept_of(encoder.rows(texts))


def _kept_of(now: Rows) -> KeptRows:
    """Return the kept rows of values whose earlier rows are 1, 2, ...; `now` is 0 for a value that is not known now."""
    known = np.flatnonzero(now)
    return KeptRows(np.concatenate([[0], known + 1]), np.concatenate([[0], now[known]]))


def _same_rows(count: int) -> KeptRows:
    rows = np.arange(count)
    return KeptRows(rows, rows)


def _require_same_meaning(field: str, was: FieldSection, now: FieldSection, scenario: str) -> None:
    pairs = {
        "embedding": (was.embedding, now.embedding),
        "encoder": (_encoder_of(was), _encoder_of(now)),
        "transform": (was.transform, now.transform),
        "hash": (was.hash and was.hash.model_dump(), now.hash and now.hash.model_dump()),
        "bands": (was.bands, now.bands),
    }
    for key, (old, new) in pairs.items():
        if old != new:
            raise UserError(
                f"field '{field}' of {scenario} has {key} {new} in the prepared data and {old} in the saved model, so "
                "its embeddings cannot be kept: declare the field as it was, or start without --start-from"
            )


def _encoder_of(spec: FieldSection) -> str:
    return next(key for key in _ENCODERS if getattr(spec, key) is not None)
