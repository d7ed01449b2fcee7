"""Optimisers take the steps of PyTorch's own, and leave its compiler out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from pfmsmtrec_flwr.training.without_compiler import plain_step

TRAINED = """
import sys, torch
from pfmsmtrec_flwr.config import ModelSettings, TrainSettings
from pfmsmtrec_flwr.data.batches import Batch
from pfmsmtrec_flwr.model import FieldSpec, ModelSpec, build_model
from pfmsmtrec_flwr.training.local import GradientStep
from pfmsmtrec_flwr.training.optimizers import make_optimizer
settings = TrainSettings(embedding_optimizer="adagrad")
model = build_model(ModelSpec((FieldSpec("item", 5, True),), 1, ("ctr",)), ModelSettings(), seed=0)
step = GradientStep(model, make_optimizer(model, settings), settings)
step(Batch(torch.ones(4, 1, dtype=torch.int32), torch.ones(4, 1), torch.ones(4, 1)))
print("torch._dynamo" in sys.modules)
"""


def test_a_process_trains_without_the_compiler() -> None:
    ended = subprocess.run([sys.executable, "-c", TRAINED], capture_output=True, text=True, check=True, timeout=300)
    assert ended.stdout.strip() == "False"


@pytest.mark.parametrize(
    "make",
    [
        lambda weights: torch.optim.Adam(weights, lr=0.1, weight_decay=0.01, fused=True),
        lambda weights: torch.optim.Adagrad(weights, lr=0.1, fused=True),
    ],
)
def test_a_plain_step_is_the_same_to_the_bit(make: Callable[[Sequence[Tensor]], Optimizer]) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(40, 3, generator=generator)
    plain, usual = (torch.nn.Parameter(start.clone()) for _ in range(2))
    one, two = make([plain]), make([usual])
    for _ in range(5):
        plain.grad = torch.randn(40, 3, generator=generator)
        usual.grad = plain.grad.clone()
        plain_step(one)
        two.step()
        assert torch.equal(plain, usual)
    assert plain.requires_grad
