"""A shared bottom is an MMoE of one expert."""

from __future__ import annotations

import pytest
import torch
from architectures import make_model, make_rows, scatter_parameters


@pytest.mark.parametrize("training", [True, False])
def test_it_equals_an_mmoe_of_one_expert(training: bool) -> None:
    model = scatter_parameters(make_model("shared-bottom")).train(training)
    mmoe = make_model("mmoe", experts=1, template="none").train(training)
    renamed = {name.replace("bottom.", "experts."): value for name, value in model.state_dict().items()}
    missing, unexpected = mmoe.load_state_dict(renamed, strict=False)
    assert (set(missing), unexpected) == ({"gates.of_task.click.weight", "gates.of_task.like.weight"}, [])
    rows = make_rows(model.spec)
    torch.testing.assert_close(model(*rows), mmoe(*rows))


def test_both_tasks_train_the_bottom() -> None:
    model = make_model("shared-bottom")
    weight = model.get_parameter("bottom.layers.0.weight")
    logits = model(*make_rows(model.spec))
    gradients = [torch.autograd.grad(logits[:, task].sum(), weight, retain_graph=True)[0] for task in (0, 1)]
    assert all(gradient.any() for gradient in gradients)
    assert model.expert_shares(*make_rows(model.spec)) is None
