from __future__ import annotations

import math
import secrets
import stat
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from federated import Tiny, Trained, same
from replies import unpack_replies
from torch import Tensor

from pfmsmtrec_flwr.config import PrivacySettings
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.client import ScenarioClient
from pfmsmtrec_flwr.federation.client.noise import GaussianStream, noised, site_key
from pfmsmtrec_flwr.federation.client.starting import offer_start
from pfmsmtrec_flwr.federation.client.state import NOISE_KEY, LocalState
from pfmsmtrec_flwr.federation.protocol import Incoming, Order, Reply
from pfmsmtrec_flwr.model import Part

KEY = bytes(range(32))
NOISE: dict[str, Any] = {"privacy__noise": 0.01, "federation__draws": 0}
TABLE = "federated_embeddings.weight"


def sent(change: Tensor, key: bytes = KEY, **settings: Any) -> Tensor:
    return noised({"w": torch.zeros_like(change)}, {"w": change}, PrivacySettings(**settings), key=key)["w"]


def test_the_noise_is_gaussian_of_the_size_that_the_settings_name() -> None:
    values = sent(torch.zeros(200_000, dtype=torch.float64), noise=0.5, clip_norm=4.0).numpy()
    assert abs(values.mean()) < 4 * 2 / math.sqrt(len(values))
    assert values.std() == pytest.approx(2.0, rel=0.01)
    ends = np.quantile(values, [0.0228, 0.5, 0.9772]) / 2.0
    assert ends == pytest.approx([-2, 0, 2], abs=0.03)
    correlation = np.corrcoef(values[:-1], values[1:])[0, 1]
    assert abs(correlation) < 4 / math.sqrt(len(values))


def test_an_update_is_clipped_as_a_whole_and_a_small_one_is_not() -> None:
    came = {"a": torch.tensor([1.0, 1.0]), "b": torch.tensor([[2.0]])}
    trained = {"a": torch.tensor([4.0, 1.0]), "b": torch.tensor([[6.0]])}
    clipped = noised(came, trained, PrivacySettings(noise=1e-12, clip_norm=2.5), key=KEY)
    torch.testing.assert_close(clipped, {"a": torch.tensor([2.5, 1.0]), "b": torch.tensor([[4.0]])})
    whole = noised(came, trained, PrivacySettings(noise=1e-12, clip_norm=5.0), key=KEY)
    torch.testing.assert_close(whole, trained)
    assert {name: value.dtype for name, value in whole.items()} == {"a": torch.float32, "b": torch.float32}


def test_the_noise_follows_from_key_update_and_settings_together() -> None:
    change = torch.ones(5, dtype=torch.float64)
    first = sent(change, noise=1.0, clip_norm=100.0)
    assert torch.equal(first, sent(change, noise=1.0, clip_norm=100.0))
    drawn = (
        first - change,
        sent(change, bytes(32), noise=1.0, clip_norm=100.0) - change,
        sent(2 * change, noise=1.0, clip_norm=100.0) - 2 * change,
        2 * (sent(change, noise=1.0, clip_norm=50.0) - change),
    )
    assert len({tuple(values.round(decimals=9).tolist()) for values in drawn}) == len(drawn)


def test_a_stream_goes_on_and_has_no_number_twice() -> None:
    stream = GaussianStream(KEY)
    numbers = torch.cat([stream.take(torch.Size([600])), stream.take(torch.Size([20, 20])).flatten()])
    assert len(set(numbers.tolist())) == 1000
    assert torch.equal(numbers, GaussianStream(KEY).take(torch.Size([1000])))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_update_that_is_not_finite_is_not_sent(value: float) -> None:
    with pytest.raises(UserError, match=r"not finite.*nothing is sent"):
        sent(torch.tensor([1.0, value]), noise=1.0)


def test_a_key_is_drawn_once_and_its_owner_alone_may_read_it(tmp_path: Path) -> None:
    key = site_key(tmp_path / "NL")
    assert (len(key), site_key(tmp_path / "NL")) == (32, key)
    assert site_key(tmp_path / "US") != key
    (file,) = (tmp_path / "NL").iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == (NOISE_KEY, 0o600)
    file.write_bytes(b"short")
    with pytest.raises(UserError, match=r"noise\.key has 5 bytes, expected 32: nothing is sent"):
        site_key(tmp_path / "NL")
    with pytest.raises(UserError, match="no noise without the key"):
        site_key(file)


def replies_of(trained: Trained) -> list[dict[str, Reply]]:
    return [unpack_replies(reply.content) for reply in trained.grid.replies[2:]]


@pytest.fixture(scope="module")
def pair(tiny: Tiny) -> tuple[Trained, Trained]:
    """A run without noise and one with a little."""
    return tiny.trained(tiny.config(federation__draws=0)), tiny.trained(tiny.config(**NOISE))


def test_with_noise_every_row_of_a_table_travels_with_a_count_of_one(pair: tuple[Trained, Trained]) -> None:
    for plain, noisy in zip(*map(replies_of, pair), strict=True):
        for name, reply in noisy.items():
            assert reply.parameters.keys() == plain[name].parameters.keys()
            assert reply.rows.keys() == plain[name].rows.keys()
            exact = {figure for figure in plain[name].figures if figure.startswith(("loss.", "gate."))}
            assert reply.figures.keys() == plain[name].figures.keys() - exact
            for table, update in reply.rows.items():
                assert update.rows.tolist() == list(range(16))
                assert update.counts.tolist() == [1] * 16
                assert 0 < len(plain[name].rows[table].rows) < 16


def test_every_number_of_an_update_has_noise(pair: tuple[Trained, Trained]) -> None:
    first = [replies_of(trained)[0] for trained in pair]
    for name, reply in first[1].items():
        plain = first[0][name].parameters
        assert all((value != plain[key]).all() for key, value in reply.parameters.items())


def test_the_key_goes_when_the_run_has_ended_and_runs_do_not_repeat_the_noise(tiny: Tiny, tmp_path: Path) -> None:
    first, second = (tiny.train(tiny.config(**NOISE), tmp_path / name) for name in ("first", "second"))
    assert not list(tmp_path.rglob(NOISE_KEY))
    assert not same(first.models, second.models)


def test_with_the_same_keys_a_run_is_the_same_to_the_bit(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_bytes", lambda count: KEY[:count])
    first, second = (tiny.train(tiny.config(**NOISE), tmp_path / str(nodes), nodes=nodes) for nodes in (1, 2))
    assert same(first.models, second.models)


def test_statistics_go_back_as_they_came_and_parameters_do_not(tiny: Tiny, tmp_path: Path) -> None:
    trained = tiny.train(tiny.config("fedprox", federation__rounds=1, **NOISE), tmp_path)
    (replies,) = [reply for reply in replies_of(trained) if "FR" in reply and reply["FR"].parameters][:1]
    slots = trained.strategy.parameters.slots["FR"]
    statistics = {name: value for name, value in replies["FR"].parameters.items() if slots[name].statistic}
    assert statistics
    for name, value in statistics.items():
        assert torch.equal(value, torch.full_like(value, 1 if name.endswith("var") else 0)), name


def client_of(tiny: Tiny, folder: Path, method: str = "pf-msmtrec", **settings: Any) -> ScenarioClient:
    config = tiny.config(method, **NOISE, **settings)
    return ScenarioClient(ScenarioStore.open(tiny.root / "tiny" / "US"), config, LocalState(folder / "US"))


def order_for(client: ScenarioClient, *parts: Part) -> Order:
    return Order(client.config.model_dump_json(), client.config.method, round=1, exchange=1, parts=parts)


def test_without_noise_nothing_leaves(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(tiny, tmp_path)
    with pytest.raises(UserError, match=r"did not come, so no change of it gets noise"):
        client.train(order_for(client, Part.TOWER), Incoming({}, {}))

    monkeypatch.setattr(GaussianStream, "take", Mock(side_effect=MemoryError))
    came = {name: value for name, value in client.model.state_dict().items() if client.slots[name].part is Part.TOWER}
    with pytest.raises(MemoryError):
        client.train(order_for(client, Part.TOWER), Incoming({}, {"US": came}))


def test_a_part_that_cannot_have_noise_is_refused_before_training(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(tiny, tmp_path, train__reestimate_batch_norm=False)
    monkeypatch.setattr(ScenarioClient, "fit", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match=r"asks for 'normalization' and for noise, which the statistic \S+ cannot have"):
        client.train(order_for(client, Part.NORMALIZATION), Incoming({}, {}))
    assert not client.state.folder.exists()


def test_an_earlier_model_does_not_leave_without_noise(tiny: Tiny, tmp_path: Path) -> None:
    client = client_of(tiny, tmp_path)
    with pytest.raises(UserError, match="an earlier model would leave without noise"):
        offer_start(client, order_for(client, Part.TOWER), Incoming({}, {}))
