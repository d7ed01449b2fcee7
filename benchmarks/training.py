"""Local training beside the bare matrix products, other libraries, and itself without the template.

    make peers                       # torch-rechub and deepctr-torch; without them the rest is measured
    python benchmarks/training.py

One thread; 16 categorical columns (10,000 rows each), 63 numeric ones, two tasks, batches of 2,048 rows, Adam, dropout
0.1. `small`: embeddings of 8, eight experts (64, 32). `large`: embeddings of 128, eight experts (512, 256). All
contestants take their turns one after the other; a ratio is the median over the turns of ratios of processor time.

The bare products are those of a plain MMoE, forward and both gradients, each in the layout that suits it best: the
first layer of all experts in one product, the later ones as a batch of products.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from figures import Figure, show
from peers import Shape, peers_of, silence
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pfmsmtrec_flwr.config import ModelSettings, TrainSettings
from pfmsmtrec_flwr.data.batches import Batch
from pfmsmtrec_flwr.data.store.reader import Split
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
from pfmsmtrec_flwr.training.local import GradientStep, train_locally
from pfmsmtrec_flwr.training.optimizers import make_optimizer
from pfmsmtrec_flwr.training.process import prepare_process

SMALL = Shape("small", 2048, 16, 10_000, 63, 8, 8, (64, 32), (32,), ("ctr", "ctcvr"), 0.1)
LARGE = Shape("large", 2048, 16, 10_000, 63, 128, 8, (512, 256), (32,), ("ctr", "ctcvr"), 0.1)
PRODUCTS, TEMPLATE, OURS = "bare products", "additive template", "plain experts"
GOALS = {("small", PRODUCTS): 0.8, ("large", PRODUCTS): 0.85, ("small", "peer"): 2.2, ("large", "peer"): 1.0}
EPOCH_GOAL, TEMPLATE_GOAL = 5.0, 1.15
GROUPS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm"),
    "normalization": ("native_batch_norm", "native_batch_norm_backward"),
    "ReLU and dropout": ("random_", "ge", "relu", "relu_", "threshold_backward", "mul_"),
    "rows of tables": ("index_select", "index_add", "embedding", "embedding_dense_backward", "new_zeros"),
    "sums and products of gates and losses": ("sum", "mul", "add", "_softmax", "_softmax_backward_data"),
    "copies": ("clone", "copy_", "cat", "_to_copy", "constant_pad_nd", "stack"),
    "optimiser": ("_fused_adam_",),
}
"""Operations of a training step by what they do."""


def made_up(shape: Shape, batches: int) -> Split:
    """Return random rows."""
    generator = np.random.default_rng(0)
    rows = batches * shape.batch
    categorical = generator.integers(0, shape.rows, (rows, shape.fields), dtype=np.int32)
    numeric = generator.standard_normal((rows, shape.numeric), dtype=np.float32)
    labels = (generator.random((rows, len(shape.tasks))) < 0.1).astype(np.uint8)
    return Split(categorical, numeric, labels, users=None, probabilities=None)


def ready_batches(shape: Shape, count: int = 4) -> list[Batch]:
    """Return batches of random rows as tensors."""
    parts = (made_up(shape, count).take(slice(i * shape.batch, (i + 1) * shape.batch)) for i in range(count))
    return [
        Batch(*map(torch.from_numpy, (part.categorical, part.numeric, part.labels.astype(np.float32))))
        for part in parts
    ]


def our_step(shape: Shape, template: Literal["additive", "none"]) -> GradientStep:
    """Return the step of an MMoE in training mode."""
    fields = tuple(FieldSpec(f"c{i}", shape.rows, federated=i % 2 == 0) for i in range(shape.fields))
    settings = ModelSettings(
        embedding_dim=shape.embedding,
        experts=shape.experts,
        expert_layers=shape.expert_layers,
        tower_layers=shape.tower_layers,
        dropout=shape.dropout,
        template=template,
    )
    model = build_model(ModelSpec(fields, shape.numeric, shape.tasks), settings, seed=0).train()
    train = TrainSettings(batch_size=shape.batch)
    return GradientStep(model, make_optimizer(model, train), train)


def bare_products(shape: Shape) -> Callable[[object], None]:
    """Return the matrix products of a step of a plain MMoE, on operands that are there."""
    sizes = [(1, shape.inputs, shape.experts * shape.expert_layers[0])]
    sizes += [(shape.experts, *pair) for pair in itertools.pairwise(shape.expert_layers)]
    sizes += [(1, shape.inputs, len(shape.tasks) * shape.experts)]
    towers = (shape.expert_layers[-1], *shape.tower_layers, 1)
    sizes += [(1, *pair) for pair in itertools.pairwise(towers)] * len(shape.tasks)

    def operands(copies: int, before: int, after: int) -> tuple[Tensor, Tensor, Tensor]:
        axis = (copies,) if copies > 1 else ()
        x, weight = torch.randn(*axis, shape.batch, before), torch.randn(*axis, before, after)
        return x, weight, torch.randn(*axis, shape.batch, after)

    every = [operands(*size) for size in sizes]

    def run(_: object) -> None:
        for x, weight, gradient in every:
            x @ weight
            x.mT @ gradient
            gradient @ weight.mT

    return run


def turn(step: Callable[[Any], object], batches: Sequence[Any], steps: int) -> float:
    """Return the processor time of a step in seconds."""
    started = time.thread_time()
    for position in range(steps):
        step(batches[position % len(batches)])
    return (time.thread_time() - started) / steps


def interleaved(contestants: Mapping[str, Callable[[], float]], turns: int) -> dict[str, list[float]]:
    """Return the times of each contestant, after a turn that does not count."""
    taken: dict[str, list[float]] = defaultdict(list)
    for number in range(turns + 1):
        for name, measure in contestants.items():
            seconds = measure()
            if number:
                taken[name].append(seconds)
    return taken


def ratio(times: Sequence[float], others: Sequence[float]) -> float:
    """Return the median over the turns of the ratios of times."""
    return statistics.median(one / other for one, other in zip(times, others, strict=True))


def ready_figures(shape: Shape, *, turns: int, steps: int) -> list[Figure]:
    """Return the rates of steps on ready tensors, as ratios to the bare products and to each peer."""
    batches = ready_batches(shape)
    plain = our_step(shape, "none")
    contestants = {
        OURS: partial(turn, plain, batches, steps),
        TEMPLATE: partial(turn, our_step(shape, "additive"), batches, steps),
        PRODUCTS: partial(turn, bare_products(shape), batches, steps),
    }
    peers, absent = peers_of(shape)
    for peer in peers:
        contestants[peer.library] = partial(turn, peer.step, [peer.ready(batch) for batch in batches], steps)
    for library in absent:
        print(f"{library} is not installed (make peers): left out")
    times = interleaved(contestants, turns)
    rate = shape.batch / statistics.median(times[OURS])
    figures = [Figure(f"{shape.name}: rows per second", rate, "rows/s")]
    for other in (PRODUCTS, *(peer.library for peer in peers)):
        goal = GOALS[shape.name, other if other == PRODUCTS else "peer"]
        what = f"{shape.name}: rate of a step over that of {other}"
        figures.append(Figure(what, ratio(times[other], times[OURS]), better="more", goal=goal))
    factor = ratio(times[TEMPLATE], times[OURS])
    figures.append(
        Figure(f"{shape.name}: time with the template over plain", factor, better="less", goal=TEMPLATE_GOAL)
    )
    return figures + breakdown(shape, plain, batches, steps)


def epoch_figures(shape: Shape, *, turns: int, batches: int) -> list[Figure]:
    """Return the rate of a pass with our loader, as a ratio to each peer's pass with its own."""
    split = made_up(shape, batches)
    step = our_step(shape, "none")
    settings = TrainSettings(batch_size=shape.batch)
    passes: dict[str, Callable[[], object]] = {
        OURS: partial(train_locally, step, split, settings, seed=0, device=torch.device("cpu"))
    }
    passes |= {peer.library: peer.epoch(split) for peer in peers_of(shape)[0]}

    def timed(run: Callable[[], object]) -> float:
        with silence():
            return turn(lambda _: run(), [None], 1)

    times = interleaved({name: partial(timed, run) for name, run in passes.items()}, turns)
    return [
        Figure(
            f"{shape.name}: rate with the loader over that of {name}", ratio(each, times[OURS]), "x", "more", EPOCH_GOAL
        )
        for name, each in times.items()
        if name != OURS
    ]


class OperationTimes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Processor time of each operation of the code in its block, backward passes included.

    Attributes
    ----------
    spent
        Seconds by the name of the operation.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.spent: dict[str, float] = defaultdict(float)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and add up its time."""
        started = time.thread_time()
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.spent[func.overloadpacket.__name__] += time.thread_time() - started


def breakdown(shape: Shape, step: GradientStep, batches: Sequence[Batch], steps: int) -> list[Figure]:
    """Return what each group of operations takes of a step, in milliseconds; the rest is Python and autograd."""
    whole = turn(step, batches, steps)
    with OperationTimes() as operations:
        turn(step, batches, steps)
    group_of = {name: group for group, names in GROUPS.items() for name in names}
    spent = dict.fromkeys(GROUPS, 0.0) | {"other operations": 0.0}
    for name, seconds in operations.spent.items():
        spent[group_of.get(name, "other operations")] += seconds / steps
    spent["between the operations"] = max(0.0, whole - sum(spent.values()))
    return [Figure(f"{shape.name}: {group}", 1e3 * seconds, "ms") for group, seconds in spent.items()]


def measure(options: argparse.Namespace) -> list[Figure]:
    """Return all figures."""
    prepare_process(1)
    figures = ready_figures(SMALL, turns=options.turns, steps=5)
    figures += epoch_figures(SMALL, turns=3, batches=4)
    if not options.small:
        figures += ready_figures(LARGE, turns=3, steps=1)
    return figures


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this script."""
    parser.add_argument("--turns", type=int, default=9, help="turns of the small shape that count")
    parser.add_argument("--small", action="store_true", help="leave the large shape out, which takes most of the time")


if __name__ == "__main__":
    show("training", measure, __doc__, arguments)
