"""Progressive layered extraction against a loop over tasks and experts, and as an MMoE."""

from __future__ import annotations

import pytest
import torch
from architectures import make_model, make_rows, make_settings, scatter_parameters
from pydantic import ValidationError
from torch import Tensor

from pfmsmtrec_flwr.model import ScenarioModel, partition
from pfmsmtrec_flwr.model.ple import divide


def expert(state: dict[str, Tensor], level: int, number: int, layers: list[int], x: Tensor) -> Tensor:
    """One expert of a level, with the running statistics."""
    for index, width in enumerate(layers):
        prefix = f"levels.{level}.experts"
        weight, bias = (state[f"{prefix}.layers.{index}.{kind}"][number] for kind in ("weight", "bias"))
        norm = {
            key: state[f"{prefix}.norms.{index}.{key}"][number * width : (number + 1) * width]
            for key in ("running_mean", "running_var", "weight", "bias")
        }
        scale = norm["weight"] / (norm["running_var"] + 1e-5).sqrt()
        x = (((x @ weight + bias) - norm["running_mean"]) * scale + norm["bias"]).clamp(min=0)
    return x


def looped(model: ScenarioModel, x: Tensor, levels: list[list[int]], specific: int, shared: int) -> tuple[Tensor, ...]:
    """Mixtures (B, T, H) and last shares (B, T, E), one task, expert and level at a time."""
    state, tasks = model.state_dict(), model.spec.tasks
    total = len(tasks) * specific + shared
    inputs, common = [x] * len(tasks), x
    shares = torch.zeros(len(x), len(tasks), total)
    for level, layers in enumerate(levels):
        owner = [number // specific if number < len(tasks) * specific else None for number in range(total)]
        sources = [common if task is None else inputs[task] for task in owner]
        outputs = [expert(state, level, number, layers, source) for number, source in enumerate(sources)]
        shares.zero_()
        mixtures: list[Tensor] = []
        for index, task in enumerate(tasks):
            seen = [number for number in range(total) if owner[number] in (index, None)]
            gate = (inputs[index] @ state[f"levels.{level}.gates.of_task.{task}.weight"].T).softmax(dim=1)
            for position, number in enumerate(seen):
                shares[:, index, number] = gate[:, position]
            mixtures.append(
                torch.stack([shares[:, index, number, None] * outputs[number] for number in seen]).sum(dim=0)
            )
        if level + 1 < len(levels):
            gate = (common @ state[f"shared_gates.{level}.weight"].T).softmax(dim=1)
            common = sum(gate[:, number, None] * outputs[number] for number in range(total))
        inputs = mixtures
    return torch.stack(inputs, dim=1), shares


@pytest.mark.parametrize(
    ("levels", "tasks", "shared", "specific"),
    [
        ([[6, 4]], 2, 3, 1),
        ([[6, 4]], 3, 1, 2),
        ([[6], [4]], 2, 1, 2),
        ([[6], [4]], 2, 3, 0),
        ([[6, 4], [3], [2]], 3, 2, 1),
    ],
)
@torch.no_grad()
def test_it_equals_a_loop(levels: list[list[int]], tasks: int, shared: int, specific: int) -> None:
    widths = [width for layers in levels for width in layers]
    sizes = {"expert_layers": widths, "experts": shared, "specific_experts": specific}
    model = make_model("ple", tasks, extraction_levels=len(levels), **sizes)
    model = scatter_parameters(model).train()
    rows = make_rows(model.spec)
    model(*rows)  # statistics that are not those of the start
    model.eval()
    mixtures, shares = looped(model, model.embed(*rows), levels, specific, shared)
    torch.testing.assert_close(model(*rows), model.get_submodule("towers")(mixtures), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.expert_shares(*rows), shares)


@pytest.mark.parametrize("training", [True, False])
def test_without_specific_experts_one_level_is_an_mmoe(training: bool) -> None:
    mmoe = scatter_parameters(make_model("mmoe", template="none")).train(training)
    ple = make_model("ple", specific_experts=0).train(training)
    renamed = {
        name if name.startswith(("towers", "federated", "local")) else f"levels.0.{name}": value
        for name, value in mmoe.state_dict().items()
    }
    ple.load_state_dict(renamed)
    rows = make_rows(mmoe.spec)
    torch.testing.assert_close(ple(*rows), mmoe(*rows))
    shares, expected = ple.expert_shares(*rows), mmoe.expert_shares(*rows)
    assert shares is not None
    assert expected is not None
    torch.testing.assert_close(shares, expected)


def test_no_task_takes_of_anothers_experts() -> None:
    model = scatter_parameters(make_model("ple", tasks=2, experts=1, specific_experts=2))
    shares = model.expert_shares(*make_rows(model.spec))
    assert shares is not None
    seen = torch.tensor([[True, True, False, False, True], [False, False, True, True, True]])
    assert torch.equal(shares > 0, seen.expand_as(shares))
    torch.testing.assert_close(shares.sum(dim=2), torch.ones(12, 2))


def test_the_loss_of_a_task_does_not_train_anothers_experts() -> None:
    model = scatter_parameters(make_model("ple", tasks=2, experts=1, specific_experts=1))
    model(*make_rows(model.spec))[:, 0].square().sum().backward()
    gradient = model.get_parameter("levels.0.experts.layers.0.weight").grad
    assert gradient is not None
    assert [bool(own.any()) for own in gradient] == [True, False, True]


def test_layers_are_counted_through_the_levels() -> None:
    slots = partition(make_model("ple", extraction_levels=2))
    assert slots["levels.0.experts.layers.0.weight"].layer == 0
    assert slots["levels.1.experts.layers.0.weight"].layer == 1


def test_layers_divided_over_levels() -> None:
    assert divide([5, 4, 3, 2], 2) == [[5, 4], [3, 2]]
    assert divide([5, 4, 3], 2) == [[5, 4], [3]]
    assert divide([5, 4, 3], 3) == [[5], [4], [3]]


def test_specific_experts_are_beside_the_shared_ones() -> None:
    model = make_model("ple", tasks=3, experts=4, specific_experts=2)
    assert model.get_parameter("levels.0.experts.layers.0.weight").shape[0] == 4 + 3 * 2
    assert model.get_parameter("levels.0.gates.of_task.like.weight").shape[0] == 4 + 2


def test_more_levels_than_layers_are_refused() -> None:
    with pytest.raises(ValidationError, match="extraction_levels 3 and 2 expert_layers"):
        make_settings("ple", extraction_levels=3)
