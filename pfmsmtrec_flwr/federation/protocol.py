"""Content of the messages: orders go down and updates come up, as Flower records.

A node hosts one scenario or several, so a record's name is ``<scenario>/<kind>``. Parameters that are the same for all
scenarios of a message travel once, under ``common``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, cast

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.changed_rows import ChangedRows
from pfmsmtrec_flwr.federation.changes import Changes
from pfmsmtrec_flwr.federation.packed_numbers import packed, packed_rows, unpacked_rows
from pfmsmtrec_flwr.federation.reasons import reason_for_server
from pfmsmtrec_flwr.federation.rounding import Coded, halved, widened
from pfmsmtrec_flwr.model import Part
from pfmsmtrec_flwr.validation import Section

PROTOCOL_VERSION = 7
Tensors = dict[str, Tensor]
"""Tensors by name."""

HELLO = "query.hello"
START = "query.start"
TRAIN = "train.local"
VALIDATE = "evaluate.validation"
TEST = "evaluate.test"

REPLY = "reply"
"""Kind of the record with a reply's document, and its key."""
LACKS_TABLES = "lacks_tables"
PARAMETERS = "parameters"
SCALES = "scales"
ROWS = "rows"
DRAWS = "draws"

_COMMON = "common"
_ORDER = "order"
_NOBODY = ""
"""Owner of common rows; no scenario has an empty name."""


class Stage(StrEnum):
    """Part of the round that an exchange serves."""

    ALL = "all"
    EXPERTS = "experts"
    """First exchange of a bottom-up round: everything is trained, and everything but the towers is sent."""
    TOWERS = "towers"
    """Second exchange of a bottom-up round: the towers are fitted on the aggregated experts and sent."""


@dataclass(frozen=True, slots=True)
class Order:
    """Order of the server to every scenario of a message.

    Attributes
    ----------
    config
        Configuration of the run as JSON.
    method
        Name under which clients keep their state.
    round
        Number of the round, from 1.
    exchange
        Number of the exchange, from 1 over the whole run; a client keeps its state by it.
    stage
        Part of the round that the exchange serves.
    parts
        Parts of the model to send back; in an order to test, those that have travelled.
    evaluate
        Whether to measure the received parameters on validation rows before training.
    selected
        Round of each scenario whose parameters are the best so far; 0 stands for none yet.
    counted
        Last exchange of each scenario whose update counted at the server; 0 or absent: none has.
    run
        Number of the run that this one resumes, under which a deployed node keeps its files; 0: it is a new run.
    file
        File that defines the method; empty for a method of the package.
    copies
        Fingerprint of the changes of each scenario that made the copies of tables to which changed rows belong; empty
        in full precision, where the rows say it.
    """

    config: str
    method: str
    round: int
    exchange: int
    stage: Stage = Stage.ALL
    parts: tuple[Part, ...] = ()
    evaluate: bool = False
    selected: Mapping[str, int] = field(default_factory=dict)
    counted: Mapping[str, int] = field(default_factory=dict)
    run: int = 0
    file: str = ""
    copies: Mapping[str, int] = field(default_factory=dict)

    def pack(self) -> ConfigRecord:
        """Return the order as a record."""
        fields = asdict(self)
        if not self.copies:
            del fields["copies"]
        return ConfigRecord({"version": PROTOCOL_VERSION, "order": json.dumps(fields)})

    @classmethod
    def unpack(cls, record: ConfigRecord) -> Order:
        """Read an order.

        Raises
        ------
        UserError
            The order is of another version of the protocol.
        """
        if record.get("version") != PROTOCOL_VERSION:
            raise UserError(
                f"got a message of protocol version {record.get('version')!r}, this client speaks {PROTOCOL_VERSION}: "
                "install the same version of pfmsmtrec-flwr on server and clients"
            )
        fields: dict[str, Any] = json.loads(str(record["order"]))
        fields["stage"] = Stage(fields["stage"])
        fields["parts"] = tuple(Part(part) for part in fields["parts"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Incoming:
    """Parameters that a message brings to its scenarios.

    Attributes
    ----------
    common
        Parameters that are the same for all scenarios, by name.
    personal
        Parameters of each scenario, by scenario and name.
    common_changes, personal_changes
        Changed rows of the tables that do not travel whole, named as in `common` and `personal`.
    """

    common: Tensors
    personal: dict[str, Tensors]
    common_changes: dict[str, ChangedRows] = field(default_factory=dict)
    personal_changes: dict[str, dict[str, ChangedRows]] = field(default_factory=dict)

    def halved(self) -> Incoming:
        """Return the parameters in low precision: float16 where all values of a tensor are in its range."""
        return self._each(halved, ChangedRows.halved)

    def widened(self) -> Incoming:
        """Return the parameters as float32, whatever they came as."""
        return self._each(widened, ChangedRows.widened)

    def _each(self, of_tensor: Callable[[Tensor], Tensor], of_rows: Callable[[ChangedRows], ChangedRows]) -> Incoming:
        def tensors(own: Tensors) -> Tensors:
            return {name: of_tensor(value) for name, value in own.items()}

        def rows(own: dict[str, ChangedRows]) -> dict[str, ChangedRows]:
            return {name: of_rows(change) for name, change in own.items()}

        personal_changes = {name: rows(own) for name, own in self.personal_changes.items()}
        personal = {name: tensors(own) for name, own in self.personal.items()}
        return Incoming(tensors(self.common), personal, rows(self.common_changes), personal_changes)


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer of one scenario.

    Attributes
    ----------
    figures
        Losses, metrics and sizes by name.
    parameters
        Parameters after training, of the parts that the order names, except embedding tables.
    rows
        Touched rows of the embedding tables, by name of the table.
    error
        Reason of a failure, in one line; empty if there was none.
    lacks_tables
        Whether the failure is that changed rows came for tables of which the scenario has no copy, or another one.
    draws
        Test AUC in each draw of users (B,), by task; no draws in a reply to another order than to test.
    changes
        Changes in low precision, in place of parameters and rows; none in full precision.
    """

    figures: dict[str, float] = field(default_factory=dict)
    parameters: Tensors = field(default_factory=dict)
    rows: dict[str, RowUpdate] = field(default_factory=dict)
    error: str = ""
    lacks_tables: bool = False
    draws: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)


def pack_orders(
    order: Order, incoming: Incoming, scenarios: Sequence[str], packed: dict[str, Array] | None = None
) -> RecordDict:
    """Return a message's content for some scenarios of one node, in records of its own; see `pack_tensors`."""
    records = RecordDict({_ORDER: order.pack(), "scenarios": ConfigRecord({"names": list(scenarios)})})
    if incoming.common:
        records[_COMMON] = pack_tensors(incoming.common, packed)
    for scenario in scenarios:
        if personal := incoming.personal.get(scenario):
            records[f"{scenario}/parameters"] = pack_tensors(personal, packed)
    changes = {_NOBODY: incoming.common_changes}
    changes |= {name: incoming.personal_changes.get(name, {}) for name in scenarios}
    for owner, tables in changes.items():
        for name, change in tables.items():
            if change.checksum is None:
                tensors = {"rows": packed_rows(change.rows), "values": change.values}
            else:
                tensors = {"rows": change.rows.int(), "values": change.values, "checksum": change.checksum}
            records[f"{owner}/rows/{name}"] = pack_tensors(tensors)
    return records


class Delivery:
    """Content that `pack_orders` made, of which the scenarios' parameters are unpacked when they are asked for.

    Parameters
    ----------
    content
        Content of a message.

    Attributes
    ----------
    order
        Order for every scenario.
    scenarios
        Names of the scenarios.
    """

    def __init__(self, content: RecordDict) -> None:
        self.order = Order.unpack(content.config_records[_ORDER])
        names = content.config_records["scenarios"]["names"]
        self.scenarios = [str(name) for name in names] if isinstance(names, list) else []
        self._arrays: dict[str, dict[str, ArrayRecord]] = {}
        for key, record in content.array_records.items():
            owner, _, kind = key.partition("/")
            self._arrays.setdefault(owner, {})[kind] = record
        self._common = unpack_tensors(self._of(_COMMON).get(""))
        self._common_changes = _unpack_changes(self._of(_NOBODY))

    def to(self, scenarios: Sequence[str]) -> Incoming:
        """Return what the content brings to some scenarios; the common parameters are in the same memory for all."""
        return Incoming(
            common=dict(self._common),
            personal={name: unpack_tensors(self._of(name).get("parameters")) for name in scenarios},
            common_changes=dict(self._common_changes),
            personal_changes={name: _unpack_changes(self._of(name)) for name in scenarios},
        )

    def _of(self, owner: str) -> dict[str, ArrayRecord]:
        return self._arrays.get(owner, {})


def unpack_orders(content: RecordDict) -> tuple[Order, Incoming, list[str]]:
    """Read a content that `pack_orders` made: the order, the parameters, the scenarios."""
    delivery = Delivery(content)
    return delivery.order, delivery.to(delivery.scenarios), delivery.scenarios


class ReplyDocument(Section):
    """Document of a reply: the order that it answers, its figures, its error."""

    method: str
    round: int
    exchange: int
    stage: Stage
    figures: dict[str, float]
    error: str


def pack_replies(order: Order, replies: Mapping[str, Reply], *, keep_paths: bool = False) -> RecordDict:
    """Return the content of a node's answer to an order; `keep_paths` is that of `reason_for_server`."""
    records = RecordDict()
    for scenario, reply in replies.items():
        document = {
            "method": order.method,
            "round": order.round,
            "exchange": order.exchange,
            "stage": order.stage,
            "figures": reply.figures,
            "error": reason_for_server(reply.error, keep_paths=keep_paths),
        }
        records[f"{scenario}/{REPLY}"] = ConfigRecord({REPLY: json.dumps(document), LACKS_TABLES: reply.lacks_tables})
        coded = reply.changes.parameters
        if arrays := reply.parameters | {name: change.values for name, change in coded.items()}:
            records[f"{scenario}/{PARAMETERS}"] = pack_tensors(arrays)
        if scales := {name: change.scales for name, change in coded.items() if change.scales is not None}:
            records[f"{scenario}/{SCALES}"] = pack_tensors(scales)
        if reply.draws:
            drawn = {task: auc.tolist() for task, auc in reply.draws.items()}
            records[f"{scenario}/{DRAWS}"] = ConfigRecord(drawn)
        for name, update in reply.rows.items():
            tensors = {"rows": update.rows.int(), "values": update.values, "counts": update.counts.int()}
            records[f"{scenario}/{ROWS}/{name}"] = pack_tensors(tensors)
        for name, change in reply.changes.rows.items():
            tensors = {"rows": packed_rows(change.rows), "counts": packed(change.counts), **_arrays(change.change)}
            records[f"{scenario}/{ROWS}/{name}"] = pack_tensors(tensors)
    return records


def scenarios_with_changed_rows(content: RecordDict) -> list[str]:
    """Return the scenarios of a message that brings changed rows, whether common or their own."""
    names = [str(name) for name in cast("list[object]", content.config_records["scenarios"]["names"])]
    owners = {key.partition("/")[0] for key in content.array_records if key.partition("/")[2].startswith(f"{ROWS}/")}
    return names if _NOBODY in owners else [name for name in names if name in owners]


def scenarios_without_tables(content: RecordDict) -> list[str]:
    """Return the scenarios whose replies in an answer say that they lack the tables to which changed rows belong."""
    records = content.config_records.items()
    return [key.removesuffix(f"/{REPLY}") for key, record in records if record.get(LACKS_TABLES) is True]


def pack_tensors(tensors: Mapping[str, Tensor], packed: dict[str, Array] | None = None) -> ArrayRecord:
    """Return tensors as a record.

    Parameters
    ----------
    tensors
        Tensors by name.
    packed
        Arrays of other records by name, to which those of new names are added: equal ones take memory once.
    """
    arrays = {}
    for name, tensor in tensors.items():
        array = Array(tensor.detach().cpu().numpy())
        known = array if packed is None else packed.setdefault(name, array)
        arrays[name] = (
            known if (known.dtype, known.shape, known.data) == (array.dtype, array.shape, array.data) else array
        )
    return ArrayRecord(arrays)


def unpack_tensors(record: ArrayRecord | None) -> Tensors:
    """Return a record's tensors, in memory of their own."""
    if record is None:
        return {}
    return {name: torch.from_numpy(np.array(array.numpy())) for name, array in record.items()}


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Check decoded tensors against the tensors that they replace.

    Raises
    ------
    UserError
        A name, shape or type differs, or a value is not finite.
    """
    if tensors.keys() != expected.keys():
        odd = sorted(tensors.keys() ^ expected.keys())
        raise UserError(
            f"{source}: parameters {odd[:3]} are missing or unknown; the models of server and client differ"
        )
    for name, tensor in tensors.items():
        wanted = expected[name]
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            raise UserError(
                f"{source}: parameter {name} is {tensor.dtype} {tuple(tensor.shape)}, "
                f"expected {wanted.dtype} {tuple(wanted.shape)}"
            )
    refuse_not_finite(tensors, source)


def refuse_not_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse tensors of which a value is not finite.

    Raises
    ------
    UserError
        One is not.
    """
    for name, tensor in tensors.items():
        if not _is_finite(tensor):
            raise UserError(f"{source}: parameter {name} has values that are not finite; lower train.lr")


def _is_finite(tensor: Tensor) -> bool:
    """Return whether all values are finite, without an answer per value: NaN counts as smallest and largest of all."""
    return not tensor.numel() or all(bool(extreme.isfinite()) for extreme in torch.aminmax(tensor))


def payload_bytes(content: RecordDict) -> int:
    """Return the number of bytes of the arrays in a message."""
    return sum(len(array.data) for record in content.array_records.values() for array in record.values())


def _unpack_changes(arrays: Mapping[str, ArrayRecord]) -> dict[str, ChangedRows]:
    """Return the changed rows among the records of one owner, by table."""
    prefix = f"{ROWS}/"
    rows = {kind: unpack_tensors(record) for kind, record in arrays.items() if kind.startswith(prefix)}
    return {
        kind.removeprefix(prefix): ChangedRows(tensors["rows"].long(), tensors["values"], tensors["checksum"])
        if "checksum" in tensors
        else ChangedRows(unpacked_rows(tensors["rows"]), tensors["values"], None)
        for kind, tensors in rows.items()
    }


def _arrays(change: Coded) -> Tensors:
    return {"values": change.values} | ({} if change.scales is None else {SCALES: change.scales})
