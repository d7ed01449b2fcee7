"""Transfer between steps, and the calibrator."""

from __future__ import annotations

import math

import pytest
import torch
from architectures import make_model, make_rows, scatter_parameters
from torch import Tensor

from pfmsmtrec_flwr.model import ModelSpec, build_model, partition
from pfmsmtrec_flwr.model.aitm import InformationTransfer


def linear(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def transferred(state: dict[str, Tensor], prefix: str, before: Tensor, own: Tensor) -> Tensor:
    """Attention over the information passed on and the task's own, row by row."""
    passed = linear(state, f"{prefix}information.0", before).clamp(min=0)
    rows = []
    for row in range(len(own)):
        values, scores = [], []
        for u in (passed[row], own[row]):
            values.append(linear(state, f"{prefix}value", u))
            score = float(linear(state, f"{prefix}key", u) @ linear(state, f"{prefix}query", u))
            scores.append(math.exp(score / math.sqrt(len(u))))
        rows.append((scores[0] * values[0] + scores[1] * values[1]) / sum(scores))
    return torch.stack(rows)


def test_the_transfer_is_scaled_attention_over_two() -> None:
    module = InformationTransfer(3, 0.0).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    before, own = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(module(before, own).detach(), transferred(module.state_dict(), "", before, own))


def test_by_hand_where_both_score_alike() -> None:
    module = InformationTransfer(2, 0.0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.information[0].get_parameter("weight").copy_(torch.eye(2))
        module.value.weight.copy_(2 * torch.eye(2))
    mixed = module(torch.tensor([[-1.0, 3.0]]), torch.tensor([[4.0, 1.0]]))
    assert mixed.tolist() == [[4.0, 4.0]]  # the mean of 2 (0, 3) and 2 (4, 1)


@torch.no_grad()
def test_the_model_passes_on_what_was_mixed() -> None:
    model = scatter_parameters(make_model("aitm", tasks=3)).eval()
    bottoms: list[Tensor] = []
    model.get_submodule("bottoms").register_forward_hook(lambda _, __, output: bottoms.append(output[:, 0]))
    logits = model(*make_rows(model.spec))
    state, mixed, expected = model.state_dict(), torch.zeros(0), []
    for index, task in enumerate(model.spec.tasks):
        tower = f"towers.of_task.{task}"
        own = model.get_submodule(f"{tower}.hidden")(bottoms[0][:, index])
        mixed = transferred(state, f"{tower}.transfer.", mixed, own) if index else own
        expected.append(linear(state, f"{tower}.output", mixed))
    torch.testing.assert_close(logits, torch.cat(expected, dim=1), rtol=1e-4, atol=1e-5)


def test_a_later_task_learns_through_an_earlier_one_and_not_the_other_way() -> None:
    model = scatter_parameters(make_model("aitm"))
    weight = model.get_parameter("bottoms.layers.0.weight")
    logits = model(*make_rows(model.spec))
    first, second = (torch.autograd.grad(logits[:, task].sum(), weight, retain_graph=True)[0] for task in (0, 1))
    assert first[0].any()
    assert not first[1].any()
    assert second[0].any()
    assert second[1].any()


def test_the_calibrator_by_hand() -> None:
    probabilities = torch.tensor([[0.5, 0.7, 0.2], [0.4, 0.1, 0.6], [0.9, 0.5, 0.5]], dtype=torch.float64)
    model = make_model("aitm", tasks=3, calibrator_weight=0.6)
    loss = model.auxiliary_loss(torch.logit(probabilities))
    assert loss is not None
    assert float(loss) == pytest.approx(0.6 * (0.2 + 0.5) / 3)


def test_the_calibrator_pushes_a_later_task_down_and_the_one_before_up() -> None:
    logits = torch.logit(torch.tensor([[0.5, 0.7], [0.5, 0.3]])).requires_grad_()
    loss = make_model("aitm").auxiliary_loss(logits)
    assert loss is not None
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    # 0.6 / 2 rows times p (1 - p), only in the row where the order is wrong
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.3 * 0.25, 0.3 * 0.21], [0.0, 0.0]]))


def test_without_weight_or_a_second_task_there_is_no_calibrator() -> None:
    assert make_model("aitm", calibrator_weight=0.0).auxiliary_loss(torch.ones(2, 2)) is None
    assert make_model("aitm", tasks=1).auxiliary_loss(torch.ones(2, 1)) is None


def test_a_tasks_layers_are_numbered_alike_whether_it_is_first_or_not() -> None:
    second = make_model("aitm")
    first = build_model(ModelSpec(second.spec.fields, 2, ("like",)), second.settings, seed=0)
    own = {name: slot for name, slot in partition(first).items() if slot.task == "like"}
    others = partition(second)
    assert all(others[name] == slot for name, slot in own.items())
    assert {slot.layer for name, slot in others.items() if "transfer" in name} == {2, 3, 4, 5}


def test_the_calibrator_counts_rows_with_both_labels() -> None:
    probabilities = torch.tensor([[0.5, 0.7, 0.2], [0.4, 0.1, 0.6], [0.1, 0.5, 0.9]], dtype=torch.float64)
    labelled = torch.tensor([[True, True, False], [True, False, True], [True, True, True]])
    model = make_model("aitm", tasks=3, calibrator_weight=0.6)
    loss = model.auxiliary_loss(torch.logit(probabilities), labelled)
    assert loss is not None
    assert float(loss) == pytest.approx(0.6 * ((0.2 + 0.4) / 2 + 0.4))
    nothing = model.auxiliary_loss(torch.logit(probabilities), torch.zeros(3, 3, dtype=torch.bool))
    assert nothing is not None
    assert float(nothing) == 0.0
