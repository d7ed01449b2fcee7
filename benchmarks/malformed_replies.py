"""Replies that do not fit, one at a time, at every exchange of small federations in this process.

    python benchmarks/malformed_replies.py                          # all methods of the list
    python benchmarks/malformed_replies.py --methods pf-msmtrec     # one of them

Each malformed reply is an honest one with one thing changed: a record, a key, an array's bytes, type, shape or values,
a number, the order that it names. The federation goes on without the scenario (a quorum of one less than all), and
everything that the others get is compared, to the bit, with a run in which the scenario's answer to that exchange never
came. The honest answers are computed once and kept, so that a malformed reply costs only the server's work.

The table has a line for each method and exchange: replies that were sent and refused, contaminations, exceptions.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import pickle
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from safetensors.torch import load_file
from torch import Tensor

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client import client
from pfmsmtrec_flwr.federation.inprocess import InProcessGrid, own_client_app, run_identity, simulated_contexts
from pfmsmtrec_flwr.federation.packed_numbers import packed, packed_rows, unpacked, unpacked_rows
from pfmsmtrec_flwr.federation.protocol import HELLO
from pfmsmtrec_flwr.federation.server.result import FederationResult
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.methods import federated_method
from pfmsmtrec_flwr.methods.configuration import load_config

MADE_UP = str(Path(__file__).with_name("made_up.yaml"))

METHODS = (
    "pf-msmtrec",
    "bottom-up",
    "from-earlier",
    "half",
    "int8",
    "fedavg",
    "fedhca2",
    "fedamp",
    "mat-fl",
    "apfl",
    "fedala",
)
VICTIM, OTHER = "FR", "NL"
"""Scenario whose replies are malformed, and an honest one."""

Change = Callable[[Any], None]
"""Function that changes an honest answer, or one of its records, in place."""


# Malformed replies ----------------------------------------------------------------------------------------------------


def changes_of(content: RecordDict, stale: RecordDict | None) -> Iterator[tuple[str, Change]]:
    """Yield all changes of an answer to an order, with a label each.

    Parameters
    ----------
    content
        Honest answer.
    stale
        Honest answer to an earlier exchange; None if there is none.
    """
    if "hello" in content:
        yield from _changes_of_hello(content)
        return
    yield from _changes_of_records(content)
    yield from _changes_of_document(content)
    for key, record in content.array_records.items():
        for name in _telling(record):
            for label, made in _changes_of_array(record[name]):
                yield f"{key}: {name} {label}", _in_record(key, _replacing(name, made))
        yield f"{key}: an array is missing", _in_record(key, _without(_telling(record)[0]))
        yield f"{key}: a stranger", _in_record(key, _with("stranger", record[_telling(record)[0]]))
        if "/rows/" in key:
            for label, change in _changes_of_rows(record):
                yield f"{key}: {label}", _in_record(key, change)
    if f"{VICTIM}/draws" in content:
        for label, change in _changes_of_draws(content.config_records[f"{VICTIM}/draws"]):
            yield f"draws: {label}", _in_record(f"{VICTIM}/draws", change)
    if stale is not None:

        def be_stale(into: RecordDict) -> None:
            into.clear()
            into.update(copy.deepcopy(stale))

        yield "the answer to an earlier exchange", be_stale


def _changes_of_records(content: RecordDict) -> Iterator[tuple[str, Change]]:
    for key, record in content.items():
        other = ArrayRecord() if isinstance(record, ConfigRecord) else ConfigRecord({"x": 1})
        yield f"{key} missing", _without(key)
        yield f"{key} renamed", _renamed(key, f"{key}x")
        yield f"{key} of an honest scenario", _renamed(key, key.replace(VICTIM, OTHER, 1))
        yield f"{key} of no scenario", _renamed(key, key.replace(VICTIM, "", 1))
        yield f"{key} of another type", _with(key, other)
        yield f"{key} of metrics", _with(key, MetricRecord({"x": 1}))
        yield f"{key} empty", _with(key, type(record)())
    yield "a record too many", _with(f"{VICTIM}/more", ConfigRecord({"x": 1}))
    yield "arrays of an unknown table", _with(f"{VICTIM}/rows/stranger", ArrayRecord())
    yield "no record", RecordDict.clear
    if f"{VICTIM}/draws" not in content:
        yield "draws that nobody asked for", _with(f"{VICTIM}/draws", ConfigRecord({"ctr": [0.5]}))
    if f"{VICTIM}/parameters" not in content:
        array = ArrayRecord({"w": Array(np.zeros(2, np.float32))})
        yield "parameters that nobody asked for", _with(f"{VICTIM}/parameters", array)


def _changes_of_document(content: RecordDict) -> Iterator[tuple[str, Change]]:
    key = f"{VICTIM}/reply"
    document = json.loads(str(content.config_records[key]["reply"]))

    def as_text(text: Any) -> Change:
        return _in_record(key, _with("reply", text))

    def as_document(**changes: Any) -> Change:
        return as_text(json.dumps(document | changes))

    for text in ("", "reply", "null", "[]", "{}", "[" * 10**5, '{"a":' * 10**5, "\ud800", "x" * (1 << 21), "1" * 5000):
        yield f"document {text[:12]!r} of {len(text)} characters", as_text(text)
    for value in (1, 1.5, True, b"{}", ["{}"]):
        yield f"document {value!r}", as_text(value)
    for name, value in document.items():
        yield f"{name} missing", as_text(json.dumps({other: document[other] for other in document if other != name}))
        others: list[Any] = [None, [], {"a": "b"}, True, -1, 10**30, 0.5, math.nan, "\x1b]0;x\x07" * 10**4]
        for wrong in others:
            if wrong != value:
                yield f"{name} {str(wrong)[:12]!r}", as_document(**{name: wrong})
    for name in ("round", "exchange"):
        for step in (-1, 1):
            yield f"{name} {step:+d}", as_document(**{name: document[name] + step})
    yield "another method", as_document(method="alone")
    yield "another stage", as_document(stage="towers" if document["stage"] != "towers" else "all")
    yield "a key too many", as_document(more=1)
    yield "an error", as_document(error="the disk is full\n\x1b[31m" * 1000)
    yield "tables lacking without an error", _in_record(key, _with("lacks_tables", True))
    yield "tables lacking by a word", _in_record(key, _with("lacks_tables", "yes"))
    yield "no word on tables", _in_record(key, _without("lacks_tables"))
    yield "a key of the record too many", _in_record(key, _with("more", 1))
    figures = document["figures"]
    for name, value in figures.items():
        if "gauc" not in name and not name.startswith("validation.auc."):
            fewer = {other: figures[other] for other in figures if other != name}
            yield f"figure {name} missing", as_document(figures=fewer)
        for odd in (-1, -1e-3, math.nan, math.inf, 1e400, "0.5", None, True, [0.5]):
            yield f"figure {name} {odd!r}", as_document(figures=figures | {name: odd})
        if not name.startswith("loss."):
            for huge in (1e18, 10**400):
                yield f"figure {name} {str(huge)[:6]}", as_document(figures=figures | {name: huge})
        if "examples" in name or "positives" in name:
            yield f"figure {name} fractional", as_document(figures=figures | {name: value + 0.5})
        if "examples" in name:
            yield f"figure {name} one more", as_document(figures=figures | {name: value + 1})
        if "auc" in name or name.startswith("gate."):
            yield f"figure {name} 1.01", as_document(figures=figures | {name: 1.01})
        if name.startswith("gate.") and value > 0.02:
            yield f"figure {name} halved", as_document(figures=figures | {name: value / 2})
    for name in ("validation.auc.stranger", "test.auc.ctr.x", "gate.ctr.99", "best.auc.stranger", ""):
        yield f"figure {name!r} too many", as_document(figures=figures | {name: 0.5})
    yield "thousands of figures", as_document(figures=figures | {f"loss.x{number}": 0.5 for number in range(20000)})
    yield "no figures", as_document(figures={})


def _changes_of_array(array: Array) -> Iterator[tuple[str, Callable[[Array], Any]]]:
    values = array.numpy()
    number = float(values.flat[0]) if values.size else 0.0

    def saved(made: np.ndarray[Any, Any]) -> Callable[[Array], Array]:
        buffer = BytesIO()
        np.save(buffer, made, allow_pickle=True)
        return lambda _: Array(str(made.dtype), tuple(made.shape), "numpy.ndarray", buffer.getvalue())

    def with_bytes(data: bytes) -> Callable[[Array], Array]:
        return lambda _: Array(array.dtype, tuple(array.shape), array.stype, data)

    for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u4", "?", "c8", "U3", "S3", "M8[s]", "O"):
        if np.dtype(kind) != values.dtype:
            yield f"of type {kind}", saved(np.full(values.shape, number).astype(kind))
    if values.itemsize > 1:
        yield "of another byte order", saved(values.astype(values.dtype.newbyteorder()))
    yield "one longer", saved(np.resize(values, (*values.shape[:-1], values.shape[-1] + 1) if values.ndim else (1,)))
    yield "with an axis more", saved(values[None])
    if values.ndim:
        yield "empty", saved(np.zeros((0, *values.shape[1:]), values.dtype))
        yield "scalar", saved(values.flat[:1].reshape(()))
    if values.ndim == 2 and values.shape[0] != values.shape[1]:
        yield "turned", saved(np.ascontiguousarray(values.T))
    if values.ndim == 2:
        yield "flat", saved(values.ravel())
    if values.dtype.kind == "f":
        for wrong in (math.nan, math.inf, -math.inf, 1e30, -3e38):
            changed = values.copy()
            with np.errstate(over="ignore"):  # beyond float16
                changed.flat[-1] = wrong
            yield f"with {wrong}", saved(changed)
    elif values.dtype != np.int8:  # any change in 8 bits is one
        for extreme in (np.iinfo(values.dtype).max, np.iinfo(values.dtype).min):
            changed = values.copy()
            changed.flat[-1] = extreme
            yield f"with {extreme}", saved(changed)
    data, start = array.data, len(array.data) - values.nbytes
    yield "without bytes", with_bytes(b"")
    yield "a byte short", with_bytes(data[:-1])
    yield "without values", with_bytes(data[:start])
    yield "a byte long", with_bytes(data + b"\0")
    yield "a megabyte long", with_bytes(data + bytes(1 << 20))
    yield "of noise", with_bytes(bytes(range(256)) * 4)
    yield "a pickle", with_bytes(pickle.dumps(values))
    yield "with another version", with_bytes(data[:6] + b"\x02" + data[7:])
    yield "with a header that lies about its length", with_bytes(data[:8] + b"\xff\xff" + data[10:])
    shape = str(tuple(values.shape)).encode()
    for claimed in (
        b"(1000000000000,)",
        b"(-1,)",
        b"(9" + b"9" * 40 + b",)",
        b"[2]",
        b"()" if values.ndim else b"(1,)",
    ):
        head = data[:start].replace(shape, claimed)[:start].ljust(start, b" ")
        yield f"that claims the shape {claimed[:20].decode()}", with_bytes(head + data[start:])
    compressed = BytesIO()
    np.savez_compressed(compressed, x=np.zeros(1 << 20, np.uint8))
    yield "compressed", with_bytes(compressed.getvalue())
    yield "announced in another type", lambda _: Array("float64", tuple(array.shape), array.stype, data)
    yield "announced in another shape", lambda _: Array(array.dtype, (7, *array.shape), array.stype, data)
    yield "announced in another way", lambda _: Array(array.dtype, tuple(array.shape), "torch", data)


def _changes_of_rows(record: ArrayRecord) -> Iterator[tuple[str, Change]]:
    rows, values, counts = (record[name].numpy() for name in ("rows", "values", "counts"))
    if packs := rows.dtype == np.uint8:  # in low precision, where no number is negative and no distance either
        rows = unpacked_rows(torch.from_numpy(rows.copy())).numpy().astype(np.int32)
        counts = unpacked(torch.from_numpy(counts.copy())).numpy().astype(np.int32)

    def written(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if packs and name != "values":
            return (packed_rows if name == "rows" else packed)(torch.from_numpy(array.copy())).numpy()
        return np.ascontiguousarray(array)

    def made(**changes: np.ndarray[Any, Any]) -> Change:
        def change(into: ArrayRecord) -> None:
            into.update({name: Array(written(name, array)) for name, array in changes.items()})

        return change

    if not packs:
        yield "row -1", made(rows=np.concatenate([np.array([-1], np.int32), rows[1:]]))
        yield "rows descend", made(rows=rows[::-1])
    yield "a row beyond the table", made(rows=np.concatenate([rows[:-1], np.array([10**6], np.int32)]))
    yield "a row twice", made(rows=np.concatenate([rows[:1], rows[:-1]]))
    yield "fewer rows", made(rows=rows[1:])
    yield "fewer values", made(values=values[1:])
    yield "fewer counts", made(counts=counts[1:])
    yield "a column more", made(values=np.concatenate([values, values[:, :1]], axis=1))
    for wrong in (0, *([] if packs else [-1]), 2**31 - 1):
        yield f"count {wrong}", made(counts=np.concatenate([counts[:-1], np.array([wrong], np.int32)]))
    yield "all counts 2**31 - 1", made(counts=np.full_like(counts, 2**31 - 1), values=np.zeros_like(values))
    yield "counts tenfold", made(counts=counts * 10)
    many = 10**5
    yield (
        "more rows than the table",
        made(
            rows=np.arange(many, dtype=np.int32),
            values=np.zeros((many, values.shape[1]), np.float32),
            counts=np.ones(many, np.int32),
        ),
    )


def _changes_of_draws(record: ConfigRecord) -> Iterator[tuple[str, Change]]:
    task = next(iter(record))
    drawn = cast("list[float]", record[task])
    yield "a task missing", _without(task)
    yield "a task too many", _with("stranger", drawn)
    for label, wrong in {
        "one more": [*drawn, 0.5],
        "one less": drawn[1:],
        "none": [],
        "a number": 0.5,
        "a word": "0.5",
        "words": ["0.5"] * len(drawn),
        "whole numbers": [1] * len(drawn),
        "truths": [True] * len(drawn),
        "above one": [1.5, *drawn[1:]],
        "below zero": [-0.5, *drawn[1:]],
        "infinite": [math.inf, *drawn[1:]],
        "a million": [0.5] * 10**6,
    }.items():
        yield label, _with(task, wrong)


def _changes_of_hello(content: RecordDict) -> Iterator[tuple[str, Change]]:
    document = json.loads(str(content.config_records["hello"]["hello"]))
    described = document["scenarios"][0]

    def as_text(text: Any) -> Change:
        return _in_record("hello", _with("hello", text))

    def as_document(**changes: Any) -> Change:
        return as_text(json.dumps(document | changes))

    yield "no record", RecordDict.clear
    yield "a record too many", _with("more", ConfigRecord({"x": 1}))
    yield "another type", _with("hello", ArrayRecord())
    yield "another key", _with("hello", ConfigRecord({"x": "{}"}))
    for text in ("", "hello", "null", "[]", "{}", "[" * 10**5, "\ud800", "x" * (1 << 25), 1, True, b"{}", ["{}"]):
        yield f"document {str(text)[:12]!r}", as_text(text)
    for name in ("version", "partitions", "scenarios"):
        yield f"{name} missing", as_text(json.dumps({key: document[key] for key in document if key != name}))
    for name in ("version", "partitions", "scenarios", "error"):
        others: list[Any] = [None, {"a": 1}, True, -1, 10**30, 0.5, "\x1b[31m" * 10**4, [[]]]
        for wrong in others:
            yield f"{name} {str(wrong)[:12]!r}", as_document(**{name: wrong})
    for name, value in described.items():
        if name not in ("note", "split_rule", "labelled", "used_labelled", "most"):
            fewer = {key: described[key] for key in described if key != name}
            yield f"description without {name}", as_document(scenarios=[fewer])
        wrongs: list[Any] = [None, {"a": "b"}, [[]], -1, 10**30, 0.5, "\x1b[31m" * 10**4]
        if isinstance(value, list) and value:
            wrongs += [[*value, value[0]], value[:-1], [None] * len(value)]
            if isinstance(value[0], int) and not isinstance(value[0], bool):
                wrongs += [[-1, *value[1:]], [2**40, *value[1:]], [0.5, *value[1:]]]
        if name == "numeric":
            wrongs += [value + 1, 0]
        for wrong in wrongs:
            yield f"{name} {str(wrong)[:24]}", as_document(scenarios=[described | {name: wrong}])
    for name in ("rows", "used_positives", "train_positives"):
        grown = [10**9, *described[name][1:]]
        yield f"{name} of a billion", as_document(scenarios=[described | {name: grown}])
    for split in ("train", "validation", "test"):
        for wrong in (-1, 10**30, None, 0):
            examples = described["examples"] | {split: wrong}
            yield f"{split} rows {wrong}", as_document(scenarios=[described | {"examples": examples}])
    for wrong in ("../x", "", "a/b", "x" * 1000, "é"):
        yield f"name {wrong[:8]!r}", as_document(scenarios=[described | {"scenario": wrong}])
    yield "another schema", as_document(scenarios=[described | {"schema_hash": "0" * 32}])


def _telling(record: ArrayRecord) -> list[str]:
    """Return the names of arrays of a record that differ in kind: one for each type and number of axes."""
    return list({(array.dtype, len(array.shape)): name for name, array in record.items()}.values())


def _in_record(key: str, change: Callable[[Any], None]) -> Change:
    return lambda content: change(content[key])


def _without(key: str) -> Callable[[Any], None]:
    return lambda record: record.pop(key)


def _with(key: str, value: Any) -> Callable[[Any], None]:
    """Set a value past the checks of Flower's own records, as bytes on a wire may."""
    return lambda record: record._data.__setitem__(key, value)


def _renamed(key: str, name: str) -> Callable[[Any], None]:
    return lambda record: record.__setitem__(name, record.pop(key))


def _replacing(name: str, change: Callable[[Array], Any]) -> Callable[[Any], None]:
    return lambda record: record.__setitem__(name, change(record[name]))


# Federations ----------------------------------------------------------------------------------------------------------


@dataclass
class Kept:
    """Honest answers by the message that they answer, and those of the honest run by exchange."""

    answers: dict[int, RecordDict] = field(default_factory=dict)
    exchanges: list[RecordDict] = field(default_factory=list)
    """The victim's answers in the honest run."""
    kinds: list[str] = field(default_factory=list)


class FaultyGrid(InProcessGrid):
    """Carries messages, and changes or loses the victim's answer to one exchange.

    Parameters
    ----------
    contexts
        Contexts of the nodes, one for each scenario.
    kept
        Honest answers.
    fault
        Number of the exchange, from 0, and the change of its answer; a change of None loses it. None: no fault.
    calls
        Whether clients are called, and their answers kept; otherwise only kept answers are sent.
    """

    def __init__(
        self, contexts: Mapping[int, Any], kept: Kept, fault: tuple[int, Change | None] | None, *, calls: bool
    ) -> None:
        super().__init__(own_client_app(), contexts)
        self.kept, self.fault, self.calls = kept, fault, calls
        self.victim = 0
        self.exchange = 0
        self.strayed = False

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Answer messages with kept or new answers."""
        del timeout
        messages = list(messages)
        greeting = all(message.metadata.message_type == HELLO for message in messages)
        self.exchange = 0 if greeting else self.exchange + 1  # a node that did not answer is greeted again
        return [self._answer(message) for message in messages]

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        key = _digest(message)
        if self.calls:
            (reply,) = super().send_and_receive([message])
            self.kept.answers.setdefault(key, reply.content)
        if key not in self.kept.answers:
            self.strayed |= node != self.victim
            return Message(Error(8, "no kept answer"), reply_to=message)
        honest = self.kept.answers[key]
        if message.metadata.message_type == HELLO and _hosts_victim(honest):
            self.victim = node
        if node == self.victim and self.fault is None and self.calls:
            self.kept.exchanges.append(honest)
            self.kept.kinds.append(message.metadata.message_type)
        content = copy.deepcopy(honest)
        if node == self.victim and self.fault is not None and self.exchange == self.fault[0]:
            change = self.fault[1]
            if change is None:
                return Message(Error(8, "lost"), reply_to=message)
            change(content)
        return Message(content, reply_to=message)


def _hosts_victim(content: RecordDict) -> bool:
    return any(one["scenario"] == VICTIM for one in json.loads(str(content["hello"]["hello"]))["scenarios"])


def _digest(message: Message) -> int:
    parts: list[Any] = [message.metadata.message_type, message.metadata.dst_node_id]
    for key, record in sorted(message.content.items()):
        values = (value.data if isinstance(value, Array) else str(value) for value in record.values())
        parts.append((key, *record, *values))
    return hash(tuple(parts))


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    fingerprint: str = ""
    """Everything that the scenarios and the user get."""
    error: str = ""
    """One line that ended the run."""
    raised: str = ""
    """Exception that is no such line."""
    warnings: tuple[str, ...] = ()
    strayed: bool = False
    """Whether an honest scenario was sent something that it is not sent otherwise."""
    seconds: float = 0.0


@dataclass
class Examined:
    """What came of the malformed replies to one exchange.

    Attributes
    ----------
    exchange
        Number and kind of the exchange.
    verdicts
        Number of replies by verdict.
    odd
        Replies that were not refused, and why not.
    """

    exchange: str
    verdicts: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Federations:
    """Runs of one method, honest and faulty.

    Parameters
    ----------
    method
        Name of the method, or of one of its variants in `METHODS`.
    data, output
        Folders of made-up rows and of the runs.
    """

    def __init__(self, method: str, data: Path, output: Path) -> None:
        self.method, self.data, self.output = method, data, output
        self.kept = Kept()
        self.config = _config(method)
        self.earlier = ""
        if method == "from-earlier":
            self.earlier = str(output / "earlier")
            Federations("pf-msmtrec", data, output / "earlier-runs").run(folder=output / "earlier")
        self.honest = self.run(calls=True)
        if not self.honest.fingerprint:
            raise RuntimeError(f"{method}: {self.honest.error or self.honest.raised}")
        self.absent = {number: self.run((number, None), calls=True) for number in range(len(self.kept.exchanges))}

    def run(
        self, fault: tuple[int, Change | None] | None = None, *, calls: bool = True, folder: Path | None = None
    ) -> Outcome:
        """Run once; without `calls` from kept answers alone."""
        with TemporaryDirectory() as temporary:
            settings = {"output": str(folder or temporary), "data": str(self.data)}
            if self.earlier:
                settings["start-from"] = self.earlier
            grid = FaultyGrid(simulated_contexts(7, 3, settings), self.kept, fault, calls=calls)
            handler = _Warnings()
            logger.addHandler(handler)
            started = time.perf_counter()
            found: dict[str, str] = {}
            try:
                with run_identity(7), patch.object(client, "starting_state", _saved_state):
                    strategy = federated_method(self.config.method).make_strategy(self.config, start_from=self.earlier)
                    found["fingerprint"] = _fingerprint(strategy.start(grid))
            except UserError as error:
                found["error"] = str(error)
            except Exception as error:
                found["raised"] = f"{type(error).__name__}: {error}"[:200]
            finally:
                logger.removeHandler(handler)
            seconds = time.perf_counter() - started
        return Outcome(warnings=tuple(handler.lines), strayed=grid.strayed, seconds=seconds, **found)

    def exchanges(self) -> Iterator[tuple[int, str]]:
        """Yield the number and the kind of each exchange."""
        yield from enumerate(self.kept.kinds)

    def verdict(self, number: int, change: Change) -> str:
        """Return what came of a changed answer: refused, or what else happened."""
        outcome = self.run((number, change), calls=False)
        said = outcome.error or " ".join(outcome.warnings)
        if outcome.raised:
            return f"exception: {outcome.raised}"
        if not said.isprintable() or len(said) > 2000:
            return f"unreadable: {said[:300]!r}"
        if outcome.fingerprint == self.absent[number].fingerprint and not outcome.strayed and VICTIM in said:
            return "refused"
        if outcome.fingerprint == self.honest.fingerprint:
            return "accepted"
        return f"contaminated: {said[:200]}"


def _saved_state(owner: client.ScenarioClient) -> dict[str, Tensor]:
    """Return the state of a model of made-up rows as it was saved, which the package itself has no rows to match by."""
    return load_file(owner.state.start / "model.safetensors") if owner.state.start is not None else {}


def _fingerprint(result: FederationResult) -> str:
    rounds = [(one.round, one.losses, one.validation, one.gates, one.shares, one.conflict) for one in result.rounds]
    arrays = [(name, array.data) for name, array in result.arrays.items()]
    draws = {name: {task: auc.tobytes() for task, auc in own.items()} for name, own in result.draws.items()}
    return repr((rounds, result.selected, result.test, result.consensus, result.best, draws, arrays))


def _config(method: str) -> RunConfig:
    base = "pf-msmtrec" if method in ("bottom-up", "from-earlier", "half", "int8") else method
    overrides = [
        "data.synthetic={train_rows: {ES: 300, FR: 200, NL: 400}, validation_rows: 200, test_rows: 200, ctr: 0.3}",
        "model={embedding_dim: 4, experts: 2, expert_layers: [6], tower_layers: [3]}",
        "train={batch_size: 64, device: cpu}",
        "federation={rounds: 2, patience: 0, min_scenarios: 2, scenarios: [ES, FR, NL], draws: 3, node_timeout: 0.2, "
        "evaluate_consensus: true}",
        *(["pf-msmtrec.schedule=bottom-up"] if method == "bottom-up" else []),
        *([f"federation.precision={method}"] if method in ("half", "int8") else []),
    ]
    return federated_method(base).configure(load_config(MADE_UP, method=base, overrides=overrides))


def sample(changes: list[tuple[str, Change]], share: float, seed: int) -> list[tuple[str, Change]]:
    """Return a random share of the changes, in their order."""
    if share >= 1:
        return changes
    generator = np.random.default_rng(seed)
    return [change for change in changes if generator.random() < share]


def examine(method: str, data: Path, output: Path, share: float = 1.0) -> Iterator[Examined]:
    """Send malformed replies to a method, and yield what came of them by exchange."""
    federations = Federations(method, data, output)
    for number, kind in federations.exchanges():
        content = federations.kept.exchanges[number]
        stale = federations.kept.exchanges[number - 1] if number > 1 else None
        found = Examined(f"{number} {kind}")
        for label, change in sample(list(changes_of(content, stale)), share, seed=number):
            verdict = federations.verdict(number, change)
            found.verdicts[verdict.partition(":")[0]] += 1
            if verdict != "refused":
                found.odd.append(f"{label}: {verdict}")
        yield found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--share", type=float, default=1.0, help="random share of the malformed replies")
    arguments = parser.parse_args()
    logger.setLevel(logging.WARNING)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    total: Counter[str] = Counter()
    print(
        f"{'method':14s}{'exchange':24s}{'sent':>7s}{'refused':>9s}{'contaminated':>14s}{'accepted':>10s}{'exceptions':>12s}"
    )
    with TemporaryDirectory() as folder:
        for method in arguments.methods:
            for found in examine(method, Path(folder) / "data", Path(folder) / method, arguments.share):
                total += found.verdicts
                _print_line(method, found.exchange, found.verdicts)
                for line in found.odd:
                    print(f"    {line}")
    _print_line("all", "", total)
    sys.exit(0 if total.total() == total["refused"] else 1)


def _print_line(method: str, exchange: str, verdicts: Counter[str]) -> None:
    counts = [verdicts.total(), *(verdicts[name] for name in ("refused", "contaminated", "accepted"))]
    counts.append(verdicts["exception"] + verdicts["unreadable"])
    widths = (7, 9, 14, 10, 12)
    print(f"{method:14s}{exchange:24s}" + "".join(f"{n:{width}d}" for n, width in zip(counts, widths, strict=True)))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
