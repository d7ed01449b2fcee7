"""Reading of one scenario's reply: nothing of it is used, or takes memory, before it was compared with what it owes.

Small arrays were taken out of their parcels before, each in memory of its own size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord
from numpy.typing import NDArray
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.config import Precision
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.array_forms import ArrayForm
from pfmsmtrec_flwr.federation.changes import Changes, CodedRows
from pfmsmtrec_flwr.federation.packed_numbers import MOST_BYTES, unpacked
from pfmsmtrec_flwr.federation.protocol import (
    DRAWS,
    LACKS_TABLES,
    PARAMETERS,
    REPLY,
    ROWS,
    SCALES,
    Reply,
    ReplyDocument,
    Tensors,
)
from pfmsmtrec_flwr.federation.rounding import Coded
from pfmsmtrec_flwr.federation.server.expected_reply import ExpectedReply, coded_forms
from pfmsmtrec_flwr.federation.server.figure_ranges import check_figures
from pfmsmtrec_flwr.validation import parse_json

Records = Mapping[str, object]
"""Records of one scenario in an answer, by kind."""

LONGEST_DOCUMENT = 1 << 20
"""Largest number of characters of a reply's document."""

_INT32 = np.dtype(np.int32)
_ROW_ARRAYS = {"rows", "values", "counts"}
_WITH_SCALES = "rows, values, scales and counts"


def read_reply(records: Records, expected: ExpectedReply) -> Reply:
    """Read the records of one scenario's reply.

    Raises
    ------
    UserError
        The reply reports an error, or it is not what the scenario owes; the message says what differs.
    """
    source = f"scenario {expected.scenario}"
    document = _document(records, expected, source)
    try:
        check_figures(document.figures, expected.figures)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    there = bool(document.figures[expected.arrays_if]) if expected.arrays_if else True
    forms = expected.parameters if there else {}
    kinds = {REPLY, *(f"{ROWS}/{name}" for name in expected.tables)}
    kinds |= ({PARAMETERS} if forms else set()) | ({DRAWS} if expected.draws else set())
    kinds |= {SCALES} if expected.scales else set()
    if odd := sorted(kinds ^ records.keys()):
        raise UserError(f"{source}: the record {odd[0]} is {'missing' if odd[0] in kinds else 'unknown'}")
    arrays = _tensors(records.get(PARAMETERS), forms, source)
    scales = _tensors(records.get(SCALES), expected.scales, f"{source}, scales")
    changes = {name: Coded(arrays.pop(name), scales.get(name)) for name in [*arrays] if name in expected.changes}
    uses = int(document.figures.get("examples", 0)) * expected.uses
    tables = {
        name: _rows(
            records[f"{ROWS}/{name}"],
            _TableForm(form, (form.shape[0] or 0) if expected.every_row else uses, expected.precision),
            f"{source}, table {name}",
        )
        for name, form in expected.tables.items()
    }
    full = expected.precision == "full"
    return Reply(
        figures=document.figures,
        parameters=arrays,
        rows={name: RowUpdate(own.rows, own.change.values, own.counts) for name, own in tables.items() if full},
        draws=_draws(records.get(DRAWS), expected.draws, source),
        changes=Changes(changes, {} if full else tables),
    )


def _document(records: Records, expected: ExpectedReply, source: str) -> ReplyDocument:
    """Return the document of a reply without an error that answers the order."""
    record = records.get(REPLY)
    if not isinstance(record, ConfigRecord) or record.keys() != {REPLY, LACKS_TABLES}:
        raise UserError(f"{source}: the record {REPLY} is missing, or is no record of a reply")
    text, lacks_tables = record[REPLY], record[LACKS_TABLES]
    if not isinstance(text, str) or not isinstance(lacks_tables, bool) or len(text) > LONGEST_DOCUMENT:
        raise UserError(f"{source}: the record {REPLY} has values of another type, or too long a text")
    document = parse_json(ReplyDocument, text, f"{source}, reply")
    if document.error:
        raise UserError(document.error)
    if lacks_tables:
        raise UserError(f"{source}: the reply says that tables are lacking, without an error")
    order = expected.order
    for name in ("method", "round", "exchange", "stage"):
        if getattr(document, name) != getattr(order, name):
            got, wanted = getattr(document, name), getattr(order, name)
            raise UserError(f"{source}: the reply answers {name} {got}, expected {name} {wanted}: it came too late")
    return document


def _tensors(record: object, forms: Mapping[str, ArrayForm], source: str) -> Tensors:
    if not forms:
        return {}
    if not isinstance(record, ArrayRecord) or record.keys() != forms.keys():
        odd = sorted(record.keys() ^ forms.keys()) if isinstance(record, ArrayRecord) else []
        raise UserError(
            f"{source}: parameters {odd[:3]} are missing or unknown; the models of server and client differ"
        )
    return {name: forms[name].read(array, f"{source}: parameter {name}") for name, array in record.items()}


@dataclass(frozen=True, slots=True)
class _TableForm:
    """Form of the whole table (R, d), largest number of uses of its rows together, and precision of what comes."""

    table: ArrayForm
    most: int
    precision: Precision


def _rows(record: object, form: _TableForm, source: str) -> CodedRows:
    """Return the touched rows of a table; in full precision their values are no change, but values after training.

    Parameters
    ----------
    record
        Record as it came.
    form
        What the scenario may send of the table.
    source
        Origin, for the message of an error.
    """
    length, width = form.table.shape
    wanted, scales = form.table, None
    if form.precision != "full":
        wanted, scales = coded_forms(form.table, form.precision)
    if not isinstance(record, ArrayRecord) or record.keys() != _ROW_ARRAYS | ({SCALES} if scales else set()):
        raise UserError(f"{source}: got no record of {'rows, values and counts' if scales is None else _WITH_SCALES}")
    rows = _numbers(record["rows"], ArrayForm((None,), _INT32, most=length or 0), form.precision, f"{source}: rows")
    if form.precision != "full":
        rows = rows.cumsum(0)
    if not _ascending(rows, length or 0):
        raise UserError(f"{source}: the row numbers do not ascend from 0 to {length}, each once")
    values = ArrayForm((len(rows), width), wanted.dtype).read(record["values"], f"{source}: values")
    steps = ArrayForm((len(rows),), scales.dtype).read(record[SCALES], f"{source}: scales") if scales else None
    counts = _numbers(record["counts"], ArrayForm((len(rows),), _INT32), form.precision, f"{source}: counts")
    if len(counts) != len(rows):
        raise UserError(f"{source}: got {len(counts)} counts for {len(rows)} rows")
    if bool((counts < 1).any()) or int(counts.sum()) > form.most:
        raise UserError(
            f"{source}: the counts sum to {int(counts.sum())}, expected 1 at least each, {form.most} in all"
        )
    return CodedRows(rows, Coded(values, steps), counts)


def _numbers(array: Array, form: ArrayForm, precision: Precision, what: str) -> Tensor:
    """Return whole numbers of a form, (n,) int64, which travel packed in low precision."""
    if precision == "full":
        return form.read(array, what).long()
    most = form.most if form.shape[0] is None else form.shape[0]
    data = ArrayForm((None,), np.dtype(np.uint8), most=most * MOST_BYTES).read(array, what)
    try:
        return unpacked(data)
    except ValueError as error:
        raise UserError(f"{what}: {error}") from None


def _ascending(rows: Tensor, length: int) -> bool:
    if not len(rows):
        return True
    return int(rows[0]) >= 0 and int(rows[-1]) < length and bool((torch.diff(rows) > 0).all())


def _draws(record: object, draws: Mapping[str, int], source: str) -> dict[str, NDArray[np.float32]]:
    """Return the AUC of each task in each draw: a share, or NaN where it is not defined."""
    if not draws:
        return {}
    if not isinstance(record, ConfigRecord) or record.keys() != draws.keys():
        raise UserError(f"{source}: got no record of draws for {', '.join(draws)}")
    found = {}
    for task, number in draws.items():
        drawn = record[task]
        if not isinstance(drawn, list) or len(drawn) != number or not all(isinstance(auc, float) for auc in drawn):
            raise UserError(f"{source}: the draws of {task} are not {number} numbers")
        auc = np.array(drawn, dtype=np.float64)
        if ((auc < 0) | (auc > 1)).any():
            raise UserError(
                f"{source}: the draws of {task} reach from {np.nanmin(auc):g} to {np.nanmax(auc):g}, no AUC does"
            )
        found[task] = auc.astype(np.float32)
    return found
