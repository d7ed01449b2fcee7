"""Star topology: against one scenario at a time, and the normalization's statistics."""

from __future__ import annotations

import pytest
import torch
from architectures import SCENARIOS, make_model, make_rows, make_settings, make_spec, scatter_parameters
from torch import Tensor, nn

from pfmsmtrec_flwr.data.batches import Batch
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.model import ScenarioModel, build_model
from pfmsmtrec_flwr.model.star import PartitionedNorm, StarLayers, StarLinear
from pfmsmtrec_flwr.training.batchnorm import reestimate_statistics


def star() -> ScenarioModel:
    """Move parameters and statistics away from their initial values."""
    model = scatter_parameters(make_model("star"))
    model.train()
    with torch.no_grad():
        model(*make_rows(model.spec, seed=3))
    return model


def plain_star(model: ScenarioModel, categorical: Tensor, numeric: Tensor) -> Tensor:
    """STAR row by row, from the state's tensors alone, with the running statistics."""
    state = model.state_dict()
    x = model.embed(categorical, numeric)
    auxiliary = model.get_submodule("auxiliary")(x)
    rows = []
    for row, scenario in enumerate((categorical[:, -1] - 1).tolist()):
        # item, hour, user, then the scenario itself, then the numbers; three values each
        z = torch.cat([x[row, :9], x[row, 12:]])
        hidden = star_norm(state, "norm", scenario, z)
        hidden = star_layers(state, "bottom", 2, scenario, hidden)
        for task in model.spec.tasks:
            tower = f"towers.of_task.{task}"
            rows.append(
                star_linear(
                    state, f"{tower}.output", scenario, star_layers(state, f"{tower}.hidden", 1, scenario, hidden)
                )
            )
    return torch.as_tensor(torch.stack(rows).view(len(x), -1) + auxiliary)


def star_norm(state: dict[str, Tensor], name: str, scenario: int, z: Tensor) -> Tensor:
    mean, var = (state[f"{name}.of_scenario.{scenario}.running_{kind}"] for kind in ("mean", "var"))
    gamma = state[f"{name}.weight"] * (1 + state[f"{name}.weight_scenario"][scenario])
    beta = state[f"{name}.bias"] + state[f"{name}.bias_scenario"][scenario]
    return gamma * (z - mean) / (var + 1e-5).sqrt() + beta


def star_linear(state: dict[str, Tensor], name: str, scenario: int, x: Tensor) -> Tensor:
    weight = state[f"{name}.weight"] * (1 + state[f"{name}.weight_scenario"][scenario])
    return x @ weight + state[f"{name}.bias"] + state[f"{name}.bias_scenario"][scenario]


def star_layers(state: dict[str, Tensor], name: str, count: int, scenario: int, x: Tensor) -> Tensor:
    for index in range(count):
        x = star_linear(state, f"{name}.layers.{index}", scenario, x)
        x = star_norm(state, f"{name}.norms.{index}", scenario, x).clamp(min=0)
    return x


@torch.no_grad()
def test_it_equals_one_row_at_a_time() -> None:
    model = star().eval()
    categorical, numeric = make_rows(model.spec)
    torch.testing.assert_close(
        model(categorical, numeric), plain_star(model, categorical, numeric), rtol=1e-4, atol=1e-4
    )


@torch.no_grad()
def test_the_order_of_the_rows_does_not_matter() -> None:
    model = star()
    categorical, numeric = make_rows(model.spec)
    turned = model(categorical.flip(0), numeric.flip(0)).flip(0)
    torch.testing.assert_close(model(categorical, numeric), turned, rtol=1e-4, atol=1e-5)


def test_a_layer_by_hand() -> None:
    layer = StarLinear(2, 2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0], [2.0]]))
        layer.weight_scenario.copy_(torch.tensor([[[0.0], [0.0]], [[2.0], [-2.0]]]))
        layer.bias.fill_(0.5)
        layer.bias_scenario.copy_(torch.tensor([[0.0], [1.0]]))
    x = torch.tensor([[1.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    assert layer(x, [1, 2]).tolist() == [[3.5], [2.5], [5.5]]
    assert layer(x, [0, 3]).tolist() == [[2.5], [2.5], [5.5]]


def test_scenarios_start_from_the_shared_weights() -> None:
    layer = StarLinear(2, 200, 50)
    layer.initialise(lambda _: torch.Generator().manual_seed(0))
    assert not any(own.any() for own in (layer.weight_scenario, layer.bias, layer.bias_scenario))
    assert float(layer.weight.detach().std()) == pytest.approx(0.1, rel=0.03)  # sqrt(2 / 200)


def test_normalization_by_hand() -> None:
    norm = PartitionedNorm(2, 1)
    with torch.no_grad():
        norm.weight.fill_(2.0)
        norm.weight_scenario.copy_(torch.tensor([[0.0], [2.0]]))
        norm.bias.fill_(1.0)
        norm.bias_scenario.copy_(torch.tensor([[0.0], [10.0]]))
    x = torch.tensor([[0.0], [2.0], [10.0], [14.0]])
    expected = torch.tensor([[-1.0], [3.0], [5.0], [17.0]])  # 2 (∓1) + 1 and 6 (∓1) + 11
    torch.testing.assert_close(norm(x, [2, 2]), expected, rtol=1e-4, atol=1e-4)
    first, second = norm.of_scenario
    torch.testing.assert_close(first.get_buffer("running_mean"), torch.tensor([0.1]))
    torch.testing.assert_close(second.get_buffer("running_mean"), torch.tensor([1.2]))


def test_weight_decay_brings_the_scenarios_factors_to_one() -> None:
    layer, norm = StarLinear(2, 3, 4), PartitionedNorm(2, 4)
    layer.initialise(lambda _: torch.Generator().manual_seed(0))
    shared, common = layer.weight.detach().clone(), norm.weight.detach().clone()
    owns = [own for module in (layer, norm) for name, own in module.named_parameters() if name.endswith("_scenario")]
    with torch.no_grad():
        for own in owns:
            own.add_(0.5)
    optimizer = torch.optim.Adam(owns, lr=0.01, weight_decay=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        for own in owns:
            own.grad = torch.zeros_like(own)
        optimizer.step()
    x = torch.eye(3)
    torch.testing.assert_close(layer(x, [2, 1]), shared, atol=1e-2, rtol=0)
    torch.testing.assert_close(norm.weight * (1 + norm.weight_scenario), common.expand(2, -1), atol=1e-2, rtol=0)


def test_hidden_layers_are_normalised_within_each_scenario() -> None:
    layers = StarLayers(2, 3, [4], dropout=0.0)
    for layer in layers.layers:
        assert isinstance(layer, StarLinear)
        layer.initialise(lambda _: torch.Generator().manual_seed(0))
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    far = torch.cat([x[:4], 5 * x[4:] + 3])  # other scales and means of the second scenario's rows change nothing
    torch.testing.assert_close(layers(far, [4, 4]), layers(x, [4, 4]), rtol=1e-4, atol=1e-4)


def test_a_single_row_or_none_leaves_the_statistics() -> None:
    norm = PartitionedNorm(3, 1)
    with torch.no_grad():
        norm.of_scenario[0].get_buffer("running_mean").fill_(4.0)
        norm.of_scenario[0].get_buffer("running_var").fill_(9.0)
    before = [{name: value.clone() for name, value in own.named_buffers()} for own in norm.of_scenario]
    normalised = norm(torch.tensor([[10.0], [0.0], [2.0]]), [1, 0, 2])
    torch.testing.assert_close(normalised, torch.tensor([[2.0], [-1.0], [1.0]]), rtol=1e-4, atol=1e-4)
    for own, statistics in zip(norm.of_scenario[:2], before, strict=False):
        assert all(torch.equal(value, statistics[name]) for name, value in own.named_buffers())
    assert int(norm.of_scenario[2].get_buffer("num_batches_tracked")) == 1


@pytest.mark.parametrize("numbers", [[1, 1, 1, 3], [2, 2, 2, 2]])
def test_a_batch_without_all_scenarios_trains(numbers: list[int]) -> None:
    model = star()
    categorical, numeric = make_rows(model.spec, 4)
    categorical[:, -1] = torch.tensor(numbers)
    logits = model(categorical, numeric)
    logits.square().sum().backward()
    assert torch.isfinite(logits).all()
    gradient = model.get_parameter("bottom.layers.0.weight_scenario").grad
    assert gradient is not None
    assert torch.isfinite(gradient).all()
    assert [bool(own.any()) for own in gradient] == [number in numbers for number in (1, 2, 3)]


def test_the_statistics_are_re_estimated_by_scenario() -> None:
    model = star()
    categorical, numeric = make_rows(model.spec)
    categorical[:, -1] = torch.tensor([1, 2] * 6)
    norms = model.get_submodule("norm.of_scenario")
    assert isinstance(norms, nn.ModuleList)
    kept = norms[2].get_buffer("running_mean").clone()
    reestimate_statistics(model, [Batch(categorical, numeric, torch.zeros(12, 2))])
    for scenario in (0, 1):
        own = numeric[categorical[:, -1] == scenario + 1]
        torch.testing.assert_close(norms[scenario].get_buffer("running_mean")[-2:], own.mean(dim=0))
        torch.testing.assert_close(norms[scenario].get_buffer("running_var")[-2:], own.var(dim=0))
    assert kept.any()
    assert torch.equal(norms[2].get_buffer("running_mean"), kept)


def test_the_scenarios_embedding_reaches_the_logits_through_the_auxiliary_network() -> None:
    model = star().eval()
    table = model.local_embeddings
    assert table is not None
    rows = make_rows(model.spec)
    before = model(*rows)
    with torch.no_grad():
        table.weight[-SCENARIOS:] += 1.0
        model.get_parameter("auxiliary.4.weight").zero_()
        muted = model(*rows)
        table.weight[-SCENARIOS:] += 1.0
        assert torch.equal(model(*rows), muted)
    assert not torch.equal(before, muted)


def test_dropout_leaves_the_scenarios_embedding() -> None:
    model = build_model(make_spec(2, SCENARIOS), make_settings("star", embedding_dropout=0.9), seed=0).train()
    inputs: list[Tensor] = []
    model.get_submodule("auxiliary").register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    categorical, numeric = make_rows(model.spec)
    model(categorical, numeric)
    plain = model.eval().embed(categorical, numeric)  # item, hour, user, then the scenario itself, then the numbers
    assert torch.equal(inputs[0][:, 9:], plain[:, 9:])
    assert not torch.equal(inputs[0][:, :9], plain[:, :9])


def test_rows_of_a_single_scenario_are_refused() -> None:
    with pytest.raises(UserError, match=r"model\.architecture=star"):
        build_model(make_spec(), make_settings("star"), seed=0)
