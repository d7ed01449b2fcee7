"""Shared and task-specific embeddings: the plain computation, and which loss trains what."""

from __future__ import annotations

import pytest
import torch
from architectures import DIM, make_model, make_rows, make_settings, make_spec, scatter_parameters
from torch import Tensor

from pfmsmtrec_flwr.model import ScenarioModel, build_model

SOURCES = 3
"""Two tasks and what they share."""


def build() -> ScenarioModel:
    """Two shared experts (numbers 4 and 5), and two of each task's own."""
    return scatter_parameters(make_model("stem", experts=2, specific_experts=2))


def stem_inputs(model: ScenarioModel, categorical: Tensor, numeric: Tensor) -> list[Tensor]:
    """Return the inputs of click, like and of both: item, hour, user, then the numbers."""
    state = model.state_dict()
    user, item, hour = categorical.long().T
    federated, local = state["federated_embeddings.weight"], state["local_embeddings.weight"]
    vectors = [federated[item], federated[5 + hour], local[user]]  # five rows of items come first
    own = [slice(source * DIM, (source + 1) * DIM) for source in range(SOURCES)]
    return [torch.cat([*(vector[:, part] for vector in vectors), numeric], dim=1) for part in own]


def plain_stem(model: ScenarioModel, categorical: Tensor, numeric: Tensor) -> Tensor:
    """The equations expert by expert and task by task, with the running statistics."""
    state = model.state_dict()
    inputs = stem_inputs(model, categorical, numeric)
    outputs = []
    for number, source in enumerate([0, 0, 1, 1, 2, 2]):
        hidden = inputs[source]
        for layer, width in enumerate((6, 4)):
            weight, bias = (state[f"experts.layers.{layer}.{kind}"][number] for kind in ("weight", "bias"))
            own = slice(number * width, (number + 1) * width)
            mean, var, gamma, beta = (
                state[f"experts.norms.{layer}.{key}"][own] for key in ("running_mean", "running_var", "weight", "bias")
            )
            hidden = ((hidden @ weight + bias - mean) / (var + 1e-5).sqrt() * gamma + beta).clamp(min=0)
        outputs.append(hidden)
    logits = []
    for index, task in enumerate(model.spec.tasks):
        gate = ((inputs[index] + inputs[-1]) @ state[f"gates.of_task.{task}.weight"].T).softmax(dim=1)
        mixed = sum(gate[:, number, None] * output for number, output in enumerate(outputs))
        logits.append(model.get_submodule(f"towers.of_task.{task}")(mixed))
    return torch.cat(logits, dim=1)


@torch.no_grad()
def test_it_equals_the_plain_computation() -> None:
    model = build()
    model.train()(*make_rows(model.spec, seed=4))
    rows = make_rows(model.spec)
    torch.testing.assert_close(model.eval()(*rows), plain_stem(model, *rows), rtol=1e-4, atol=1e-4)


def gradients(model: ScenarioModel, task: int) -> dict[str, Tensor]:
    model.zero_grad()
    model(*make_rows(model.spec))[:, task].square().sum().backward()
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }


@pytest.mark.parametrize("task", [0, 1])
def test_a_tasks_loss_trains_its_own_and_the_shared_parts_alone(task: int) -> None:
    model = build()
    found = gradients(model, task)
    trained = [source in (task, 2) for source in range(SOURCES)]
    for table in ("federated_embeddings", "local_embeddings"):
        assert [bool(part.any()) for part in torch.split(found[f"{table}.weight"], DIM, dim=1)] == trained
    for layer in (0, 1):
        by_expert = found[f"experts.layers.{layer}.weight"]
        assert [bool(own.any()) for own in by_expert] == [own for own in trained for _ in range(2)]
        by_unit = found[f"experts.norms.{layer}.weight"].view(6, -1)
        assert [bool(own.any()) for own in by_unit] == [own for own in trained for _ in range(2)]
    for index, name in enumerate(model.spec.tasks):
        for part in (f"gates.of_task.{name}.weight", f"towers.of_task.{name}.4.weight"):
            assert bool(found[part].any()) == (index == task)


@torch.no_grad()
def test_a_task_reads_the_experts_of_the_other_all_the_same() -> None:
    model = build().eval()
    rows = make_rows(model.spec)
    before = model(*rows)
    model.get_parameter("experts.norms.1.bias").view(6, -1)[2:4] += 1.0  # of like
    assert not torch.isclose(model(*rows)[:, 0], before[:, 0]).any()


def test_the_gate_of_a_task_learns_about_all_experts() -> None:
    gradient = gradients(build(), 0)["gates.of_task.click.weight"]
    assert gradient.any(dim=1).all()


def test_with_one_task_nothing_is_held_constant() -> None:
    model = scatter_parameters(make_model("stem", tasks=1, experts=1)).train()
    rows = make_rows(model.spec)
    model(*rows).square().sum().backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    other = build_model(model.spec, model.settings, seed=0).train()
    other.load_state_dict(scatter_parameters(make_model("stem", tasks=1, experts=1)).state_dict())
    inputs = torch.stack(stem_inputs_of_one(other, *rows), dim=1)
    outputs = other.get_submodule("experts")(inputs).squeeze(1)
    shares = other.get_submodule("gates")(inputs[:, :1] + inputs[:, 1:])
    other.get_submodule("towers")(shares @ outputs).square().sum().backward()
    for name, parameter in other.named_parameters():
        if "embeddings" not in name:
            torch.testing.assert_close(parameter.grad, found[name])


def stem_inputs_of_one(model: ScenarioModel, categorical: Tensor, numeric: Tensor) -> list[Tensor]:
    """Return the inputs of the only task, and the shared ones."""
    embedded = model.embed(categorical, numeric)[:, : 3 * 2 * DIM].view(len(numeric), 3, 2, DIM)
    return [torch.cat([embedded[:, :, source].flatten(1), numeric], dim=1) for source in (0, 1)]


@pytest.mark.parametrize("specific", [0, 1, 2])
@pytest.mark.parametrize("tasks", [1, 3])
def test_it_has_so_many_parameters(tasks: int, specific: int) -> None:
    model = build_model(make_spec(tasks), make_settings("stem", experts=2, specific_experts=specific), seed=0)
    width, experts = 3 * DIM + 2, 2 + tasks * specific
    tables = (7 + 5 + 4) * (tasks + 1) * DIM
    networks = experts * (width * 6 + 6 + 2 * 6 + 6 * 4 + 4 + 2 * 4)
    heads = tasks * (width * experts + 4 * 5 + 5 + 2 * 5 + 5 + 1)
    assert sum(parameter.numel() for parameter in model.parameters()) == tables + networks + heads
    shares = model.expert_shares(*make_rows(model.spec))
    assert shares is not None
    assert shares.shape == (12, tasks, experts)
