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
    assert weight.shape == (TASKS * EXPERTS, INPUTS, OUTPUTS)
    for task in range(TASKS):
        for expert in range(EXPERTS):
            copy = task * EXPERTS + expert
            for i in range(INPUTS):
                for o in range(OUTPUTS):
                    g = float(parts["weight_global"][expert, i, o])
                    t = float(parts["weight_task"][task, expert, i, o])
                    s = float(parts["weight_scenario"][expert, i, o])
                    expected = g * t * s if composition == "hadamard" else g + t + s
                    assert float(weight[copy, i, o]) == pytest.approx(expected, rel=1e-12)
            b = parts["bias_global"][expert] + parts["bias_task"][task, expert] + parts["bias_scenario"][expert]
            torch.testing.assert_close(bias[copy], b)


def test_without_a_template_the_scenario_has_all() -> None:
    layer = random_layer("none")
    assert {name for name, _ in layer.named_parameters()} == {"weight_scenario", "bias_scenario"}
    weight, bias = layer.compose()
    assert weight is layer.weight_scenario
    assert bias is layer.bias_scenario
    assert layer.copies == EXPERTS


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("own_input", [False, True])
def test_copies_together_equal_one_at_a_time(composition: Composition, own_input: bool) -> None:
    layer = random_layer(composition)
    shape = (6, layer.copies, INPUTS) if own_input else (6, INPUTS)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight, bias = layer.compose()
    expected = torch.stack(
        [(x[:, copy] if own_input else x) @ weight[copy] + bias[copy] for copy in range(layer.copies)], dim=1
    )
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("own_input", [False, True])
def test_the_gradient_equals_the_numeric_one(composition: Composition, own_input: bool) -> None:
    layer = TemplateLinear(2, 2, 2, 2, composition).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    shape = (3, layer.copies, 2) if own_input else (3, 2)
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
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


def test_task_and_scenario_components_start_neutral() -> None:
    for composition, neutral in (("hadamard", 1.0), ("additive", 0.0)):
        layer = TemplateLinear(2, 2, 3, 3, composition)  # type: ignore[arg-type]
        layer.initialise(lambda _: torch.Generator().manual_seed(4))
        assert (layer.get_parameter("weight_task") == neutral).all()
        assert (layer.weight_scenario == neutral).all()
