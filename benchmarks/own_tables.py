"""Memory and time of the server with a table of its own for each scenario, as in pf-msmtrec.

    python benchmarks/own_tables.py

A table has a million rows of 8 values. In an exchange each scenario touches 5,000 rows: 500 that all of them touch, and
4,500 that nobody else does. The first of four exchanges goes on from equal tables, and the others are measured: rows
are averaged by weights of each scenario, the rows in which the scenarios' copies differ are found, and their changed
rows are made. With whole tables, held apart for each scenario, the same functions pass over all rows. Times are CPU
times, the least of three exchanges; growth is the largest of the three.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from functools import partial
from typing import cast

import torch
from aggregation import peak
from figures import Figure, show
from torch import Tensor

from pfmsmtrec_flwr.aggregation.embeddings import RowUpdate
from pfmsmtrec_flwr.aggregation.personal_tables import PersonalTable
from pfmsmtrec_flwr.federation.held_tensors import HeldTensors
from pfmsmtrec_flwr.federation.protocol import Incoming, Tensors
from pfmsmtrec_flwr.federation.server.parameters import Parameters
from pfmsmtrec_flwr.federation.server.stale_rows import StaleRows
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.model import Part, Slot

LENGTH, WIDTH = 1_000_000, 8
TOUCHED, COMMON = 5_000, 500
COMMON_POOL, OWN_POOL = 20_000, 15_000
"""Rows of which the common ones are drawn, and those of each scenario."""
EXCHANGES = 4
SCENARIOS = (4, 16, 64)
MOST_WHOLE = 16
"""Largest number of scenarios that are measured with whole tables too: 64 of them would take 5 GB."""
TABLE = "table"
SLOTS = {TABLE: Slot(TABLE, Part.FEDERATED_EMBEDDING)}


def measure(options: argparse.Namespace) -> list[Figure]:
    """Return the figures of all numbers of scenarios up to the largest."""
    figures: list[Figure] = []
    for scenarios in SCENARIOS:
        if scenarios > options.most:
            continue
        held = exchanged(scenarios, whole=False)
        name = f"{scenarios} scenarios"
        figures += [
            Figure(f"tables that are held, in tables, {name}", held["held"], "x", "less"),
            Figure(f"largest growth in an exchange, in tables, {name}", held["grown"], "tables"),
            Figure(f"exchange, {name}", held["seconds"], "s"),
        ]
        if scenarios <= MOST_WHOLE:
            whole = exchanged(scenarios, whole=True)
            figures += [
                Figure(f"largest growth in an exchange with whole tables, in tables, {name}", whole["grown"], "tables"),
                Figure(f"exchange with whole tables, {name}", whole["seconds"], "s"),
                Figure(f"exchange, of that with whole tables, {name}", held["seconds"] / whole["seconds"], "x", "less"),
            ]
    return figures


def exchanged(scenarios: int, *, whole: bool) -> dict[str, float]:
    """Return the tables that are held after some exchanges, the largest growth and the least CPU seconds of one."""
    names = [f"{scenario:02d}" for scenario in range(scenarios)]
    generator = torch.Generator().manual_seed(scenarios)
    start = torch.randn(LENGTH, WIDTH, generator=generator)
    parameters = Parameters(slots=dict.fromkeys(names, SLOTS))
    if whole:
        parameters.personal = {name: {TABLE: start.clone()} for name in names}
    else:
        parameters.tables[TABLE] = PersonalTable.of((name, start) for name in names)
        parameters.personal = {name: HeldTensors(name, {TABLE: None}, parameters.tables) for name in names}
    stale, measured = StaleRows(), []
    for _ in range(EXCHANGES):
        rows = touched(names, generator)
        weights = 0.1 + torch.rand(scenarios, scenarios, dtype=torch.float64, generator=generator)
        started = time.process_time()
        grown = peak(partial(exchange, parameters, stale, rows, weights))
        measured.append((time.process_time() - started, grown / (LENGTH * WIDTH * 4)))
    own = 0 if whole else parameters.tables[TABLE].kept_rows - LENGTH
    held = scenarios if whole else 1 + own * (WIDTH * 4 + 8) / (LENGTH * WIDTH * 4)
    seconds, grown_tables = zip(*measured[1:], strict=True)
    return {"held": held, "seconds": min(seconds), "grown": max(grown_tables)}


def exchange(parameters: Parameters, stale: StaleRows, rows: Mapping[str, RowUpdate], weights: Tensor) -> None:
    """Do with the tables what the server does from the replies of one exchange to the messages of the next."""
    updates = [ScenarioUpdate(name, 1, parameters.of(name), {}, {TABLE: own}, SLOTS) for name, own in rows.items()]
    parameters.average_own_tables(TABLE, rows, weights)
    stale.note(updates, parameters)
    del updates
    personal = cast("dict[str, Tensors]", parameters.personal)
    for name in rows:
        stale.shorten(Incoming({}, {name: personal[name]}), [name])


def touched(names: list[str], generator: torch.Generator) -> dict[str, RowUpdate]:
    """Draw the rows that each scenario touches, and their values."""
    common = drawn(0, COMMON_POOL, COMMON, generator)
    updates = {}
    for place, name in enumerate(names):
        own = drawn(COMMON_POOL + place * OWN_POOL, OWN_POOL, TOUCHED - COMMON, generator)
        counts = torch.randint(1, 50, (TOUCHED,), generator=generator)
        values = torch.randn(TOUCHED, WIDTH, generator=generator)
        updates[name] = RowUpdate(torch.cat([common, own]), values, counts)
    return updates


def drawn(first: int, length: int, number: int, generator: torch.Generator) -> Tensor:
    """Draw some rows of a range, ascending."""
    return first + torch.randperm(length, generator=generator)[:number].sort().values


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this script."""
    parser.add_argument("--most", type=int, default=64, help="largest number of scenarios")


if __name__ == "__main__":
    with torch.no_grad():
        show("own_tables", measure, __doc__, arguments)
