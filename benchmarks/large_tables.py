"""Tables of 10 million rows against tables of 160 thousand: a step of training, its memory, and a scenario's round.

Each measurement is a process of its own, of one thread, and its times are those of the processor.

    python benchmarks/large_tables.py

- A step: 16 categorical columns of equally many rows, drawn evenly, which is the worst case for the processor's caches,
  63 numeric columns, 2048 impressions, embeddings of 8, 8 experts (64, 32). The least of some steps in two turns.
- Memory: the peak of such a training, less what there was before the model and less its tables.
- A round: a scenario of 20,000 impressions trains in four exchanges. It receives 40,000 changed rows with each but the
  first, restores its state, measures, trains, replies and saves. The last exchange counts. Its model holds the rows in
  use; the same with a model that holds all rows, as of a scenario with many impressions.
- The server: four scenarios have touched 20,000 rows each of a table that they share. Their rows are averaged, the rows
  in which the scenarios' copies differ are found, and the changed rows of four messages are made. Then the table is
  kept in a checkpoint. The last of three exchanges counts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from figures import Figure, show
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate, average_rows
from pfmsmtrec_flwr.config import ModelSettings, RunConfig, TrainSettings
from pfmsmtrec_flwr.data.batches import Batch
from pfmsmtrec_flwr.data.store.manifest import Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore, Split
from pfmsmtrec_flwr.data.store.writer import StoreWriter
from pfmsmtrec_flwr.federation.changed_rows import ChangedRows
from pfmsmtrec_flwr.federation.client import client as client_module
from pfmsmtrec_flwr.federation.client import used_rows
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.state import LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply, pack_replies, payload_bytes
from pfmsmtrec_flwr.federation.resume.checkpoints import Checkpoint, CheckpointFolder
from pfmsmtrec_flwr.federation.server.parameters import Parameters
from pfmsmtrec_flwr.federation.server.stale_rows import StaleRows
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.federation.sharing import names_of
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, Part, Slot, build_model, make_model, partition
from pfmsmtrec_flwr.training.description import model_spec
from pfmsmtrec_flwr.training.local import GradientStep, train_locally
from pfmsmtrec_flwr.training.optimizers import make_optimizer
from pfmsmtrec_flwr.training.process import prepare_process

SMALL, LARGE = 160_000, 10_000_000
WIDTH, FIELDS, NUMERIC, BATCH = 8, 16, 63, 2048
TABLE = "federated_embeddings.weight"
STEPS = {"adagrad": 12, "adam": 6}
CHANGED = 20_000
"""Rows that other scenarios change between two exchanges."""

Measured = dict[str, float]


class TimedStep:
    """A step of training, and the seconds of the processor of each."""

    def __init__(self, step: GradientStep) -> None:
        self.model = step.model
        self._step = step
        self.seconds: list[float] = []

    def __call__(self, batch: Batch) -> Tensor:
        """Take the step."""
        started = time.thread_time()
        losses = self._step(batch)
        self.seconds.append(time.thread_time() - started)
        return losses


def step(rows: int, optimizer: str) -> Measured:
    """Return milliseconds of a step, and MB that a training needs beside its tables."""
    prepare_process(1)
    generator = np.random.default_rng(0)
    count = BATCH * STEPS[optimizer]
    split = Split(
        generator.integers(0, rows // FIELDS, (count, FIELDS), dtype=np.int32),
        generator.standard_normal((count, NUMERIC), dtype=np.float32),
        (generator.random((count, 2)) < 0.3).astype(np.uint8),
        None,
        None,
    )
    train = TrainSettings(batch_size=BATCH, embedding_optimizer="adam" if optimizer == "adam" else "adagrad")
    before = _memory("VmRSS")
    fields = tuple(FieldSpec(f"field {number}", rows // FIELDS, federated=True) for number in range(FIELDS))
    settings = ModelSettings(embedding_dim=WIDTH, experts=8, expert_layers=(64, 32))
    model = make_model(ModelSpec(fields, NUMERIC, ("ctr", "cvr")), settings)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    timed = TimedStep(GradientStep(model, make_optimizer(model, train), train))
    train_locally(timed, split, train, seed=0, device=torch.device("cpu"))
    beside = _memory("VmHWM") - before - rows * WIDTH * 4
    return {"ms": 1e3 * min(timed.seconds[1:]), "beside": beside / 1e6}


class Rounds:
    """A scenario, and a server that changes rows of its table between exchanges.

    Parameters
    ----------
    folder
        Folder of all files.
    rows
        Rows of the table.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder = folder
        self.rows = rows
        self.store = _write(folder / "store", rows)
        document = {"train": {"embedding_optimizer": "adagrad", "optimizer_state": "keep", "device": "cpu"}}
        self.config = RunConfig.model_validate({"method": "fedper", "data": {"name": "made up"}, **document})
        self.generator = torch.Generator().manual_seed(0)
        model = build_model(model_spec(self.store), self.config.model, 0)
        shared = names_of(partition(model), [Part.FEDERATED_EMBEDDING, Part.EXPERT])
        self.common = {name: model.state_dict()[name] for name in shared}

    def client(self) -> ScenarioClient:
        """Return the scenario, as in a new process."""
        return ScenarioClient(self.store, self.config, LocalState(self.folder / "client" / "US"))

    def order(self, exchange: int) -> Order:
        """Return an order to measure, from the second exchange on, and to train."""
        parts = (Part.FEDERATED_EMBEDDING, Part.EXPERT)
        text = self.config.model_dump_json()
        return Order(text, "fedper", exchange, exchange, parts=parts, evaluate=exchange > 1)

    def incoming(self, reply: Reply | None) -> Incoming:
        """Return what the server sends after a reply: the whole table at first, and changed rows later."""
        if reply is None:
            return Incoming(self.common, {})
        returned, table = reply.rows[TABLE], self.common[TABLE]
        others = torch.randint(0, self.rows, (CHANGED,), generator=self.generator)
        rows = torch.unique(torch.cat([returned.rows, others]))
        table[returned.rows] = returned.values
        table[rows] += 0.01
        rest = {name: tensor for name, tensor in self.common.items() if name != TABLE}
        return Incoming(rest, {}, common_changes={TABLE: ChangedRows.of(table, rows)})

    def written(self) -> dict[tuple[str, int], int]:
        """Return the sizes of the scenario's files, by name and version."""
        found = ((path.name, path.stat()) for path in (self.folder / "client").rglob("*") if path.is_file())
        return {(name, status.st_mtime_ns): status.st_size for name, status in found}


def exchanges(rows: int, _: str) -> Measured:
    """Return milliseconds of the steps of an exchange, and MB that it writes and sends."""
    prepare_process(1)
    folder = Path(tempfile.mkdtemp(prefix="large-tables-"))
    try:
        rounds, reply = Rounds(folder, rows), None
        for exchange in range(1, 5):
            incoming, before = rounds.incoming(reply), rounds.written()
            spent, undo = _watch()
            started = time.process_time()
            client, order = rounds.client(), rounds.order(exchange)
            opened = time.process_time() - started
            reply = client.train(order, incoming)
            trained = time.process_time() - started
            packed = pack_replies(order, {"US": reply})
            whole = time.process_time() - started
            undo()
            new = sum(size for file, size in rounds.written().items() if file not in before)
            sent = payload_bytes(packed)
        times = {"open": opened, "pack": whole - trained, "whole": whole, **spent}
        return {name: 1e3 * seconds for name, seconds in times.items()} | {"written": new / 1e6, "sent": sent / 1e6}
    finally:
        shutil.rmtree(folder)


def whole_exchanges(rows: int, optimizer: str) -> Measured:
    """Return what `exchanges` returns where the model holds all rows."""
    used_rows.ROWS_PER_USE = rows + 1
    return exchanges(rows, optimizer)


def server(rows: int, _: str) -> Measured:
    """Return milliseconds that the server takes in an exchange for a table of all scenarios, and for its checkpoint."""
    prepare_process(1)
    folder = Path(tempfile.mkdtemp(prefix="large-tables-"))
    try:
        return _server(rows, CheckpointFolder(folder))
    finally:
        shutil.rmtree(folder)


def _server(rows: int, checkpoints: CheckpointFolder) -> Measured:
    generator = torch.Generator().manual_seed(0)
    slots, names = {TABLE: Slot(TABLE, Part.FEDERATED_EMBEDDING)}, ("ES", "FR", "NL", "US")
    parameters = Parameters(common={TABLE: torch.randn(rows, WIDTH, generator=generator)})
    stale, spent, kept = StaleRows(), 0.0, 0.0
    for exchange in range(3):
        touched = [torch.unique(torch.randint(0, rows, (CHANGED,), generator=generator)) for _ in names]
        values = [torch.randn(len(own), WIDTH, generator=generator) for own in touched]
        moved = [RowUpdate(own, new, torch.ones_like(own)) for own, new in zip(touched, values, strict=True)]
        updates = [
            ScenarioUpdate(name, 1, parameters.of(name), {}, {TABLE: own}, slots)
            for name, own in zip(names, moved, strict=True)
        ]
        started = time.process_time()
        parameters.common[TABLE] = average_rows(parameters.common[TABLE], moved)
        stale.note(updates, parameters)
        for name in names:
            stale.shorten(Incoming(parameters.common, {name: {}}), [name])
        spent = time.process_time() - started
        checkpoints.write(Checkpoint(exchange, parameters.state_dict()), {})
        kept = time.process_time() - started - spent
    return {"whole": 1e3 * spent, "kept": 1e3 * kept}


def _watch() -> tuple[dict[str, float], Callable[[], None]]:
    """Measure the restoring and the saving of clients from now on; return seconds by name, and what ends it."""
    spent: dict[str, float] = defaultdict(float)
    places: list[tuple[type | ModuleType, str, str]] = [
        (LocalState, "load", "restore"),
        (client_module, "receive", "restore"),
        (ScenarioClient, "_install", "restore"),
        (LocalState, "save", "save"),
        (LocalState, "save_evaluated", "save"),
        (client_module, "copies_after", "save"),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]

    def timed(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            started = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                spent[kind] += time.process_time() - started

        return call

    for (owner, name, function), (_, _, kind) in zip(before, places, strict=True):
        setattr(owner, name, timed(function, kind))

    def undo() -> None:
        for entry in before:
            setattr(*entry)

    return spent, undo


def _write(folder: Path, rows: int) -> ScenarioStore:
    generator = np.random.default_rng(0)
    settings: dict[str, Any] = {"dataset": "made up", "scenario": "US", "tasks": ("click", "like"), "users": True}
    settings |= {"fields": (Field("item", rows, True),), "numeric": ("age",), "schema_hash": "5" * 32}
    with StoreWriter(folder, **settings) as writer:
        for split, count in (("train", 20_000), ("validation", 2_000), ("test", 2_000)):
            writer.append(
                split,
                categorical=generator.integers(1, rows, (count, 1)),
                numeric=generator.standard_normal((count, 1)).astype(np.float32),
                labels=(generator.random((count, 2)) < 0.3).astype(np.uint8),
                users=generator.integers(0, 9, count),
            )
        writer.commit()
    return ScenarioStore.open(folder)


def _memory(kind: str) -> int:
    """Return this process's memory in bytes: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:"))


PARTS = {"step": step, "exchanges": exchanges, "whole-exchanges": whole_exchanges, "server": server}


def apart(part: str, rows: int, optimizer: str = "adagrad") -> Measured:
    """Measure a part in a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--rows", str(rows), "--optimizer", optimizer]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: Measured = json.loads(done.stdout.splitlines()[-1])
    return found


def least(turns: Sequence[Measured]) -> Measured:
    """Return the least of each figure."""
    return {name: min(turn[name] for turn in turns) for name in turns[0]}


def measure(options: argparse.Namespace) -> list[Figure]:
    """Measure in turns, small and large tables one after the other."""
    turns = [(apart("step", SMALL), apart("step", LARGE)) for _ in range(options.turns)]
    small, large = (least([turn[size] for turn in turns]) for size in (0, 1))
    adam_small, adam_large = (apart("step", rows, "adam") for rows in (SMALL, LARGE))
    kinds = ("exchanges", SMALL), ("exchanges", LARGE), ("whole-exchanges", LARGE), ("server", SMALL), ("server", LARGE)
    rounds = [[apart(*kind) for kind in kinds] for _ in range(options.turns)]
    few, many, every, little, much = (least([each[kind] for each in rounds]) for kind in range(len(kinds)))
    table = LARGE * WIDTH * 4 / 1e6
    return [
        Figure(
            "step, 10 million rows against 160 thousand, Adagrad", large["ms"] / small["ms"], better="less", goal=1.2
        ),
        Figure("the same, Adam", adam_large["ms"] / adam_small["ms"]),
        Figure("step with 160 thousand rows, Adagrad", small["ms"], "ms"),
        Figure("step with 10 million rows, Adagrad", large["ms"], "ms"),
        Figure("step with 10 million rows, Adam", adam_large["ms"], "ms"),
        Figure("memory of training beside tables of 160 thousand rows, Adagrad", small["beside"], "MB"),
        Figure("memory of training beside tables of 10 million rows, Adagrad", large["beside"], "MB"),
        Figure("the same in tables (320 MB), Adagrad", large["beside"] / table, better="less"),
        Figure("the same in tables (320 MB), Adam", adam_large["beside"] / table),
        Figure("exchange, 10 million rows against 160 thousand", many["whole"] / few["whole"], better="less"),
        Figure("exchange with 160 thousand rows", few["whole"], "ms"),
        Figure("exchange with 10 million rows", many["whole"], "ms"),
        Figure("the same, of a model that holds all rows", every["whole"], "ms"),
        Figure("server, an exchange with 160 thousand rows", little["whole"], "ms"),
        Figure("server, an exchange with 10 million rows", much["whole"], "ms", "less"),
        Figure("its checkpoint", much["kept"], "ms", "less"),
        Figure("opening a scenario with 10 million rows", many["open"], "ms"),
        Figure("restoring its parameters", many["restore"], "ms"),
        Figure("saving what was measured and what it remembers", many["save"], "ms"),
        Figure("packing its reply", many["pack"], "ms"),
        Figure("written in an exchange, in tables", many["written"] / table, better="less"),
        Figure("sent in an exchange, in tables", many["sent"] / table, better="less"),
    ]


def options_of(parser: argparse.ArgumentParser) -> None:
    """Add this script's options."""
    parser.add_argument("--turns", type=int, default=2, help="turns of a step and of an exchange (default: 2)")


def main() -> None:
    """Measure one part in this process, or all of them in processes of their own."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--optimizer")
    own, _ = parser.parse_known_args()
    if own.part:
        print(json.dumps(PARTS[own.part](own.rows, own.optimizer)))
    else:
        show("large_tables", measure, __doc__, options_of)


if __name__ == "__main__":
    main()
