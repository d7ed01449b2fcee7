"""The parameter template: composition, gradient, initial scale."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from pfmsmtrec_flwr.model.template import Composition, TemplateLinear

TASKS, EXPERTS, INPUTS, OUTPUTS = 2, 3, 4, 5
COMPOSITIONS = get_args(Composition)


def random_layer(composition: Composition) -> TemplateLinear:
    layer = TemplateLinear(TASKS, EXPERTS, INPUTS, OUTPUTS, composition).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    return layer


@pytest.mark.parametrize("composition", ["hadamard", "additive"])
def test_every_element_follows_the_equation(composition: Composition) -> None:
    layer = random_layer(composition)
    parts = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    weight, bias = (composed.detach() for composed in layer.compose())
    assert weight.shape == (TASKS, EXPERTS, INPUTS, OUTPUTS)
    for task in range(TASKS):
        for expert in range(EXPERTS):
            for i in range(INPUTS):
                for o in range(OUTPUTS):
                    shared = float(parts["weight"][expert, i, o])
                    t = float(parts["weight_task"][task, expert, i, o])
                    expected = shared * (1 + t) if composition == "hadamard" else shared + t
                    assert float(weight[task, expert, i, o]) == pytest.approx(expected, rel=1e-12)
            torch.testing.assert_close(bias[task, expert], parts["bias"][expert] + parts["bias_task"][task, expert])


def test_without_a_template_tasks_have_nothing_of_their_own() -> None:
    layer = random_layer("none")
    assert {name for name, _ in layer.named_parameters()} == {"weight", "bias"}
    weight, bias = layer.compose()
    assert torch.equal(weight, layer.weight[None])
    assert torch.equal(bias, layer.bias[None])
    assert layer.copies == EXPERTS


def inputs_of(layer: TemplateLinear, axis: str, rows: int) -> torch.Tensor:
    """Return one input for all copies, for each expert, or for each copy."""
    shape = {"all": (), "expert": (layer.experts,), "copy": (layer.copies,)}[axis]
    return torch.randn(rows, *shape, layer.inputs, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("axis", ["all", "expert", "copy"])
def test_copies_together_equal_one_at_a_time(composition: Composition, axis: str) -> None:
    layer = random_layer(composition)
    x = inputs_of(layer, axis, 6)
    weight, bias = (composed.flatten(0, 1) for composed in layer.compose())
    own = {"all": [x] * layer.copies, "expert": [*x.unbind(1)] * TASKS, "copy": x.unbind(-2)}[axis]
    expected = torch.stack([own[copy] @ weight[copy] + bias[copy] for copy in range(layer.copies)], dim=1)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("axis", ["all", "expert", "copy"])
def test_the_gradient_equals_the_numeric_one(composition: Composition, axis: str) -> None:
    layer = TemplateLinear(2, 2, 2, 2, composition).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    x = inputs_of(layer, axis, 3).requires_grad_()
    # The numeric gradient disturbs the layer's own parameters in place.
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))


@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_the_composed_weight_starts_at_the_usual_scale(composition: Composition) -> None:
    layer = TemplateLinear(2, 4, 128, 64, composition)
    layer.initialise(lambda _: torch.Generator().manual_seed(3))
    weight, bias = layer.compose()
    assert float(weight.detach().std()) == pytest.approx(math.sqrt(2 / 128), rel=0.02)
    assert float(weight.detach().mean()) == pytest.approx(0, abs=0.002)
    assert not bias.any()


@pytest.mark.parametrize("composition", ["hadamard", "additive"])
def test_task_specific_components_start_neutral(composition: Composition) -> None:
    layer = TemplateLinear(2, 2, 3, 3, composition)
    layer.initialise(lambda _: torch.Generator().manual_seed(4))
    weight, _ = layer.compose()
    assert torch.equal(weight[0], layer.weight)
    assert torch.equal(weight[1], layer.weight)


def test_the_global_and_the_scenario_specific_component_have_one_gradient() -> None:
    """A scenario may train G + S as one tensor: the gradient of the sum is that of each."""
    layer = random_layer("additive")
    x = inputs_of(layer, "expert", 6)
    common = layer.weight.detach().clone().requires_grad_()
    specific = torch.zeros_like(common, requires_grad=True)
    weight = (common + specific).unsqueeze(0) + layer.get_parameter("weight_task")
    torch.einsum("bei,teio->bteo", x, weight).square().sum().backward()  # type: ignore[no-untyped-call]
    assert common.grad is not None
    assert specific.grad is not None
    assert torch.equal(common.grad, specific.grad)
