"""Tasks side by side, with nothing in common."""

from __future__ import annotations

import torch
from architectures import DIM, make_model, make_rows, scatter_parameters
from torch import Tensor
from torch.nn import functional

from pfmsmtrec_flwr.model import ScenarioModel

WIDTHS = {"norms.0": 6, "norms.1": 4}


def own_part(name: str, value: Tensor, task: int) -> Tensor:
    """Return one task's piece of a tensor of the two-task model."""
    if "embeddings" in name:
        return value[:, task * DIM : (task + 1) * DIM]
    if ".layers." in name:
        return value[task : task + 1]
    if ".norms." in name and value.dim():
        width = WIDTHS[name.removeprefix("bottoms.").rpartition(".")[0]]
        return value[task * width : (task + 1) * width]
    return value


def alone(model: ScenarioModel, task: int) -> ScenarioModel:
    """One task of the two-task model as a model of its own; the only task of such a model is named click."""
    other = ("like", "click")[task]
    own = {
        name.replace(f"of_task.{('click', 'like')[task]}.", "of_task.click."): own_part(name, value, task).clone()
        for name, value in model.state_dict().items()
        if f"of_task.{other}." not in name
    }
    single = make_model("single-task", tasks=1).double()
    single.load_state_dict(own)
    return single


def steps(model: ScenarioModel, labels: Tensor, count: int) -> None:
    """Take steps of Adam on the sum of the tasks' losses."""
    # Where normalization cancels a bias its gradient is rounding, which Adam makes a full step of unless eps is larger.
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, eps=1e-6)
    categorical, numeric = make_rows(model.spec)
    for _ in range(count):
        optimizer.zero_grad()
        logits = model(categorical, numeric.double())
        functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(dim=0).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def test_training_together_is_training_apart() -> None:
    together = scatter_parameters(make_model("single-task")).double()
    singles = [alone(together, task) for task in (0, 1)]
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]).repeat(4, 1).double()
    steps(together, labels, 3)
    for task, single in enumerate(singles):
        steps(single, labels[:, task : task + 1], 3)
        for name, value in alone(together, task).state_dict().items():
            torch.testing.assert_close(single.state_dict()[name], value, rtol=1e-8, atol=1e-8, msg=name)
    categorical, numeric = make_rows(together.spec)
    rows = categorical, numeric.double()
    apart = torch.cat([single.eval()(*rows) for single in singles], dim=1)
    torch.testing.assert_close(together.eval()(*rows), apart)


def test_the_loss_of_a_task_touches_nothing_of_another() -> None:
    model = scatter_parameters(make_model("single-task"))
    model(*make_rows(model.spec))[:, 0].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        if "of_task" in name:
            assert bool(parameter.grad.any()) == ("of_task.click" in name)
        else:
            assert own_part(name, parameter.grad, 0).any()
            assert not own_part(name, parameter.grad, 1).any()
