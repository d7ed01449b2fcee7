"""Re-estimated normalization statistics."""

from __future__ import annotations

import torch
from stores import split_of
from torch import Tensor, nn

from pfmsmtrec_flwr.config import TrainSettings
from pfmsmtrec_flwr.data.batches import Batch
from pfmsmtrec_flwr.training.batchnorm import reestimate_statistics, refresh_statistics


class OneLayer(nn.Module):
    """Linear, normalization, dropout, normalization on the numeric input."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2, bias=False)
        self.norm = nn.BatchNorm1d(2, momentum=0.3)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.BatchNorm1d(2, momentum=0.1, affine=False)
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 2.0]]))

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:  # noqa: ARG002 - a model's signature
        result: Tensor = self.last(self.dropout(self.norm(self.linear(numeric))))
        return result


def batch(*rows: list[float]) -> Batch:
    return Batch(torch.zeros(len(rows), 0, dtype=torch.int32), torch.tensor(rows), torch.zeros(len(rows), 1))


FIRST = batch([0.0, 1.0], [2.0, 0.0])  # outputs (0, 2), (2, 2): means 1, 2; variances 2, 0
SECOND = batch([1.0, 0.0], [5.0, 1.0], [3.0, 2.0])  # outputs (1, 1), (5, 7), (3, 7): means 3, 5; variances 4, 12


def test_statistics_by_hand() -> None:
    model = OneLayer()
    model.norm.get_buffer("running_mean").fill_(99.0)
    reestimate_statistics(model, [FIRST, SECOND])
    torch.testing.assert_close(model.norm.running_mean, torch.tensor([2.0, 3.5]))
    torch.testing.assert_close(model.norm.running_var, torch.tensor([3.0, 6.0]))


def test_dropout_is_off_meanwhile() -> None:
    model = OneLayer()
    reestimate_statistics(model, [SECOND])
    # Two normalizations in a row: mean 0 and n / (n - 1) for the unbiased variance of normalised values.
    torch.testing.assert_close(model.last.running_mean, torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(model.last.running_var, torch.full((2,), 1.5), atol=1e-4, rtol=0)


def test_momentum_and_mode_are_put_back() -> None:
    model = OneLayer().train()
    reestimate_statistics(model, [FIRST])
    assert (model.norm.momentum, model.last.momentum) == (0.3, 0.1)
    assert not any(module.training for module in model.modules())


def test_without_rows_everything_stays() -> None:
    model = OneLayer()
    model.norm.get_buffer("running_mean").fill_(7.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reestimate_statistics(model, [])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training


class TwoKinds(OneLayer):
    """Model with a normalization for rows of another kind, which does not see these."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.BatchNorm1d(2)
        self.other.get_buffer("running_mean").fill_(7.0)
        self.other.get_buffer("num_batches_tracked").fill_(3)


def test_statistics_that_no_row_reaches_stay() -> None:
    model = TwoKinds()
    reestimate_statistics(model, [FIRST])
    assert model.other.get_buffer("running_mean").tolist() == [7.0, 7.0]
    assert int(model.other.get_buffer("num_batches_tracked")) == 3
    assert model.norm.get_buffer("running_mean").tolist() == [1.0, 2.0]


def test_it_depends_on_the_rows_and_parameters_alone() -> None:
    first, second = OneLayer(), OneLayer()
    first.train()(FIRST.categorical, FIRST.numeric * 10)
    for model in (first, second):
        reestimate_statistics(model, iter([FIRST, SECOND]))
    assert torch.equal(first.norm.get_buffer("running_var"), second.norm.get_buffer("running_var"))
    assert int(first.norm.get_buffer("num_batches_tracked")) == 2


def test_no_gradient_is_recorded() -> None:
    model = OneLayer()
    reestimate_statistics(model, [FIRST])
    assert model.linear.weight.grad is None
    assert not model.norm.get_buffer("running_mean").requires_grad


def test_statistics_are_of_so_many_rows_as_the_settings_say() -> None:
    rows = split_of([[]] * 6, numeric=[[float(row), 0.0] for row in range(6)])
    drawn = []
    for settings, seed in ((TrainSettings(batch_size=2, reestimate_rows=5), 0), (TrainSettings(batch_size=6), 1)):
        model = OneLayer()
        refresh_statistics(model, rows, settings, seed=seed, device=torch.device("cpu"))
        drawn.append(int(model.norm.get_buffer("num_batches_tracked")))
    assert drawn == [2, 1]
    assert model.norm.get_buffer("running_mean").tolist() == [2.5, 2.5]
    model = OneLayer()
    off = TrainSettings(batch_size=2, reestimate_batch_norm=False)
    refresh_statistics(model, rows, off, seed=0, device=torch.device("cpu"))
    assert model.norm.get_buffer("running_mean").tolist() == [0.0, 0.0]
    assert model.training
