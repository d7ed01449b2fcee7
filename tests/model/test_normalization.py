from __future__ import annotations

import torch
from torch import nn

from pfmsmtrec_flwr.model.normalization import FewRowsNorm


def norm_with_statistics() -> FewRowsNorm:
    norm = FewRowsNorm(2)
    with torch.no_grad():
        norm.get_buffer("running_mean").fill_(4.0)
        norm.get_buffer("running_var").fill_(9.0)
        norm.weight.fill_(2.0)
        norm.bias.fill_(1.0)
    return norm


def test_one_row_is_normalised_with_the_running_statistics_which_stay() -> None:
    norm = norm_with_statistics()
    before = {name: value.clone() for name, value in norm.named_buffers()}
    torch.testing.assert_close(norm(torch.tensor([[10.0, 1.0]])), torch.tensor([[5.0, -1.0]]))
    assert all(torch.equal(value, before[name]) for name, value in norm.named_buffers())


def test_no_rows_give_none_and_leave_the_statistics() -> None:
    norm = norm_with_statistics()
    assert norm(torch.zeros(0, 2)).shape == (0, 2)
    assert int(norm.get_buffer("num_batches_tracked")) == 0


def test_several_rows_are_normalised_as_ever() -> None:
    norm, plain = norm_with_statistics(), nn.BatchNorm1d(2)
    plain.load_state_dict(norm.state_dict())
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(norm(x), plain(x))
    assert torch.equal(norm.eval()(x[:1]), plain.eval()(x[:1]))
