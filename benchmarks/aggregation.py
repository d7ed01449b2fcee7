"""Time and memory of the server's coordination, against the bare products that it cannot do without.

    python benchmarks/aggregation.py

The bare products are, for each expert, the inner products of the scenarios' updates and one combination of them, in
single precision. Updates have 8 experts of 100,000 parameters; from 1,000 scenarios on one expert is measured, as all
experts of 2,000 scenarios would take 6.4 GB. Each expert's updates are noise around an aim, of unequal lengths. Times
are CPU times, the least of several turns in which the measured functions alternate.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from figures import Figure, show
from torch import Tensor

from pfmsmtrec_flwr.aggregation.agreement import Agreement
from pfmsmtrec_flwr.aggregation.conflict import coordinate
from pfmsmtrec_flwr.aggregation.cosines import cosines_of, gram_matrices
from pfmsmtrec_flwr.aggregation.simplex import minimise_on_simplex
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.federation.server.updates import ScenarioUpdate
from pfmsmtrec_flwr.methods.pf_msmtrec import PFMSMTRec
from pfmsmtrec_flwr.model import Part, Slot

EXPERTS = 8
PARAMETERS = 100_000
RADIUS = 0.4
EXPERTS_AT = {4: 8, 16: 8, 64: 8, 256: 8, 1000: 1, 2000: 1}
"""Experts that are measured at once, by number of scenarios."""
TURNS_AT = {4: 20, 16: 10, 64: 3, 256: 2, 1000: 1, 2000: 1}
"""Turns of which the least time counts, by number of scenarios."""


def measure(options: argparse.Namespace) -> list[Figure]:
    """Return the figures of all numbers of scenarios up to the largest."""
    figures: list[Figure] = []
    for scenarios, experts in EXPERTS_AT.items():
        if scenarios <= options.most:
            figures += coordination(scenarios, experts)
    figures += [
        Figure(f"solver alone, {scenarios} scenarios, {EXPERTS} experts", solving(scenarios), "s", "less", goal)
        for scenarios, goal in ((500, None), (1000, None), (2000, 5.0))
        if scenarios <= options.most
    ]
    figures += [
        Figure(f"agreement of a round, {scenarios} scenarios, 1 expert", agreeing(scenarios), "s")
        for scenarios in (500, 1000, 2000)
        if scenarios <= options.most
    ]
    return [*figures, *whole_step(256, 20_000)]


def coordination(scenarios: int, experts: int) -> list[Figure]:
    """Return the time and memory of the coordination of some scenarios."""
    updates = drawn(scenarios, experts, PARAMETERS)
    weights = torch.rand(experts, scenarios)

    def bare() -> None:
        for expert in range(experts):
            own = updates[:, expert]
            _ = own @ own.T
            _ = weights[expert] @ own

    seconds = least([bare, lambda: coordinate(updates, RADIUS)], TURNS_AT[scenarios])
    memory = peak(lambda: coordinate(updates, RADIUS)) if scenarios <= 256 else None
    size = updates.numel() * updates.element_size()
    name = f"{scenarios} scenarios, {experts} expert{'s' if experts > 1 else ''}"
    figures = [
        Figure(f"coordination, {name}", 1e3 * seconds[1], "ms"),
        Figure(f"coordination, of the bare products, {name}", seconds[1] / seconds[0], "x", "less", 3.0),
    ]
    if memory is not None and scenarios >= 64:
        figures.append(
            Figure(
                f"updates and memory of the coordination, of the updates, {name}", 1 + memory / size, "x", "less", 2.0
            )
        )
    return figures


def solving(scenarios: int) -> float:
    """Return the CPU time of the solver for all experts."""
    gram = gram_matrices(drawn(scenarios, EXPERTS, scenarios + 1000))
    normal = gram / gram.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    linear = normal.mean(dim=2)
    radius = RADIUS * linear.mean(dim=1).sqrt()
    return least([lambda: minimise_on_simplex(linear, normal, radius)], 1)[0]


def agreeing(scenarios: int) -> float:
    """Return the CPU time in which one round's cosines become the agreement."""
    names = [f"{scenario:04d}" for scenario in range(scenarios)]
    updates = drawn(scenarios, 1, 1000)
    cosines = cosines_of(gram_matrices(updates))

    def learn() -> None:
        agreement = Agreement()
        agreement.add(names, updates, cosines)
        agreement.among(names)

    return least([learn], 2)[0]


def whole_step(scenarios: int, parameters: int) -> list[Figure]:
    """Return the time and memory of all that the server does with the experts of PF-MSMTrec in a second round."""
    strategy = PFMSMTRec(RunConfig.model_validate({"method": "pf-msmtrec", "data": {"name": "synthetic"}}))
    slots = {"expert": Slot("expert", part=Part.EXPERT)}
    names = [f"{scenario:04d}" for scenario in range(scenarios)]
    strategy.parameters.personal = {name: {"expert": torch.zeros(EXPERTS, parameters)} for name in names}
    for _ in range(2):
        changes = drawn(scenarios, EXPERTS, parameters)
        updates = []
        for name, change in zip(names, changes, strict=True):
            start = strategy.parameters.personal[name]
            updates.append(ScenarioUpdate(name, 1000, start, {"expert": start["expert"] + change}, {}, slots))
        del start
        started = time.process_time()
        memory = peak(partial(strategy.aggregate_experts, updates))
        seconds = time.process_time() - started
    name = f"{scenarios} scenarios, {EXPERTS} experts of {parameters:,} parameters"
    size = changes.numel() * changes.element_size()
    return [
        Figure(f"all steps on the experts, {name}", seconds, "s"),
        Figure(f"memory of all steps on the experts, of the updates, {name}", memory / size, "x", "less"),
    ]


def drawn(scenarios: int, experts: int, parameters: int) -> Tensor:
    """Draw updates (K, E, P) around an aim of each expert, of unequal lengths."""
    generator = torch.Generator().manual_seed(scenarios)
    updates = torch.randn(scenarios, experts, parameters, generator=generator)
    updates += 0.3 * torch.randn(experts, parameters, generator=generator)
    updates *= 0.5 + torch.rand(scenarios, 1, 1, generator=generator)
    return updates


def least(calls: list[Callable[[], object]], turns: int) -> list[float]:
    """Return the least CPU time of each call, in seconds, over turns in which they alternate."""
    seconds = [float("inf")] * len(calls)
    for _ in range(turns):
        for place, call in enumerate(calls):
            started = time.process_time()
            call()
            seconds[place] = min(seconds[place], time.process_time() - started)
    return seconds


def peak(call: Callable[[], object]) -> int:
    """Return by how many bytes the process grows, at most, during a call."""
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before is not room for the call
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the largest size so far
    call()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this script."""
    parser.add_argument("--most", type=int, default=2000, help="largest number of scenarios")


if __name__ == "__main__":
    with torch.no_grad():
        show("aggregation", measure, __doc__, arguments)
