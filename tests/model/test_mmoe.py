"""The whole model: against a plainly written one, and how it starts."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from pfmsmtrec_flwr.config import ModelSettings
from pfmsmtrec_flwr.model import FieldSpec, MMoE, ModelSpec, build_model
from pfmsmtrec_flwr.model.template import Composition

SPEC = ModelSpec(
    (FieldSpec("user", 7, False), FieldSpec("item", 5, True), FieldSpec("hour", 4, True)), 2, ("ctr", "cvr")
)


def settings(template: Composition = "none", **changes: object) -> ModelSettings:
    fixed = {"embedding_dim": 3, "experts": 3, "expert_layers": (6, 4), "tower_layers": (5,), "dropout": 0.0}
    return ModelSettings.model_validate({**fixed, "template": template, **changes})


def rows(count: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    columns = [torch.randint(0, field.rows, (count,), generator=generator) for field in SPEC.fields]
    return torch.stack(columns, dim=1).int(), torch.randn(count, 2, generator=generator)


def normalised(x: Tensor, state: dict[str, Tensor], name: str, units: slice, training: bool) -> Tensor:
    mean = x.mean(dim=0) if training else state[f"{name}.running_mean"][units]
    variance = x.var(dim=0, unbiased=False) if training else state[f"{name}.running_var"][units]
    return (x - mean) / (variance + 1e-5).sqrt() * state[f"{name}.weight"][units] + state[f"{name}.bias"][units]


def plain_mmoe(model: MMoE, categorical: Tensor, numeric: Tensor, training: bool) -> Tensor:
    """MMoE with a loop over tasks and experts, from the state's tensors alone; no template."""
    state = model.state_dict()
    user, item, hour = (categorical[:, column].long() for column in range(3))
    federated, local = state["federated_embeddings.weight"], state["local_embeddings.weight"]
    x = torch.cat([federated[item], federated[hour + 5], local[user], numeric], dim=1)
    outputs = []
    for expert in range(3):
        hidden = x
        for layer, width in enumerate((6, 4)):
            weight, bias = (state[f"experts.layers.{layer}.{kind}"][expert] for kind in ("weight", "bias"))
            units = slice(expert * width, (expert + 1) * width)
            hidden = normalised(hidden @ weight + bias, state, f"experts.norms.{layer}", units, training).relu()
        outputs.append(hidden)
    logits = []
    for task in ("ctr", "cvr"):
        shares = (x @ state[f"gates.of_task.{task}.weight"].T).softmax(dim=1)
        mixed = sum(shares[:, expert : expert + 1] * outputs[expert] for expert in range(3))
        tower = f"towers.of_task.{task}"
        hidden = mixed @ state[f"{tower}.0.weight"].T + state[f"{tower}.0.bias"]
        hidden = normalised(hidden, state, f"{tower}.1", slice(None), training).relu()
        logits.append(hidden @ state[f"{tower}.4.weight"].T + state[f"{tower}.4.bias"])
    return torch.cat(logits, dim=1)


@pytest.mark.parametrize("training", [True, False])
def test_without_a_template_it_is_a_plain_mmoe(training: bool) -> None:
    model = build_model(SPEC, settings(), seed=0).train(training)
    assert isinstance(model, MMoE)
    categorical, numeric = rows()
    with torch.no_grad():
        expected = plain_mmoe(model, categorical, numeric, training)
        torch.testing.assert_close(model(categorical, numeric), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("template", ["hadamard", "additive"])
def test_with_a_neutral_template_it_starts_as_a_plain_mmoe(template: Composition) -> None:
    model, plain = (build_model(SPEC, settings(kind), seed=0).eval() for kind in (template, "none"))
    own = model.state_dict()
    plain.load_state_dict(
        {name: own[name] if own[name].shape == value.shape else value for name, value in plain.state_dict().items()}
    )
    torch.testing.assert_close(model(*rows()), plain(*rows()))


@pytest.mark.parametrize(
    ("fields", "numeric"),
    [(SPEC.fields[:1], 0), (SPEC.fields[1:], 0), ((), 2), (SPEC.fields, 0)],
    ids=["local only", "federated only", "numeric only", "no numeric"],
)
def test_any_kind_of_input(fields: tuple[FieldSpec, ...], numeric: int) -> None:
    model = build_model(ModelSpec(fields, numeric, ("ctr",)), settings("hadamard"), seed=0)
    assert model(torch.zeros(4, len(fields), dtype=torch.int32), torch.ones(4, numeric)).shape == (4, 1)
    assert (model.federated_embeddings is None) == all(not field.federated for field in fields)
    assert (model.local_embeddings is None) == all(field.federated for field in fields)


def test_dropout_of_the_embedded_input_leaves_numbers_alone() -> None:
    model = build_model(SPEC, settings(embedding_dropout=0.5), seed=0)
    seen: list[Tensor] = []
    assert isinstance(model, MMoE)
    model.experts.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    categorical, numeric = rows(200)
    torch.manual_seed(0)
    model.train()(categorical, numeric)
    model.eval()(categorical, numeric)
    trained, evaluated = seen
    present = evaluated[:, :9] != 0
    assert 0.4 < float((trained[:, :9][present] == 0).double().mean()) < 0.6
    assert torch.equal(trained[:, 9:], numeric)
    kept = present & (trained[:, :9] != 0)
    torch.testing.assert_close(trained[:, :9][kept], 2 * evaluated[:, :9][kept])


@pytest.mark.parametrize("template", get_args(Composition))
def test_models_start_equal_in_all_that_they_share(template: Composition) -> None:
    larger = ModelSpec((FieldSpec("user", 99, False), *SPEC.fields[1:]), 2, ("cvr", "ctr", "like"))
    first = build_model(SPEC, settings(template), seed=3).state_dict()
    second = build_model(larger, settings(template), seed=3).state_dict()
    alike = [name for name in first if first[name].shape == second[name].shape]
    assert all(torch.equal(first[name], second[name]) for name in alike)
    differing = first.keys() - set(alike)
    assert all("_task" in name or name.startswith("local_embeddings") or "norms" in name for name in differing)


def test_the_start_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = build_model(SPEC, settings("hadamard"), seed=0).state_dict()
    torch.manual_seed(2)
    second = build_model(SPEC, settings("hadamard"), seed=0).state_dict()
    other = build_model(SPEC, settings("hadamard"), seed=1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    drawn = {name for name in first if not torch.equal(first[name], other[name])}
    gates_and_towers = {name for name in first if name.startswith(("gates", "towers")) and first[name].dim() == 2}
    assert drawn >= gates_and_towers | {"federated_embeddings.weight", "experts.layers.0.weight"}


def test_every_parameter_is_finite_and_takes_part() -> None:
    model = build_model(SPEC, settings("hadamard"), seed=0)
    model(*rows()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter).all(), name
        assert parameter.grad is not None, name
