from __future__ import annotations

import pytest
import torch
from federated import Tiny
from flwr.app import MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords
from replies import unpack_replies

from pfmsmtrec_flwr.config import CONF_FOLDER, RunConfig
from pfmsmtrec_flwr.federation.protocol import TRAIN, pack_tensors, unpack_tensors
from pfmsmtrec_flwr.federation.sharing import PRIVATE
from pfmsmtrec_flwr.methods import METHODS, FederatedMethod, federated_method, find_method
from pfmsmtrec_flwr.methods.configuration import load_config
from pfmsmtrec_flwr.methods.fedavg import FedAvg
from pfmsmtrec_flwr.model import Part


def test_the_mean_is_the_one_that_flower_takes(tiny: Tiny) -> None:
    run = tiny.trained(tiny.config("fedavg", federation__rounds=1, federation__scenarios=[]))
    records, examples = [], []
    for message in run.grid.replies:
        if message.metadata.message_type != TRAIN:
            continue
        for reply in unpack_replies(message.content).values():
            examples.append(reply.figures["examples"])
            count = MetricRecord({"num-examples": examples[-1]})
            records.append(RecordDict({"arrays": pack_tensors(reply.parameters), "metrics": count}))
    assert sorted(examples) == [48, 64, 80, 96]
    theirs = unpack_tensors(aggregate_arrayrecords(records, "num-examples"))
    ours = run.strategy.parameters.common
    assert ours.keys() - theirs.keys() == {"federated_embeddings.weight"}
    for name, value in theirs.items():
        expected = value if ours[name].is_floating_point() else value.round()  # a counter of batches stays one
        torch.testing.assert_close(ours[name].to(value.dtype), expected, rtol=1e-5, atol=1e-7)


def test_it_has_its_published_form_whatever_the_configuration_says() -> None:
    other = RunConfig().with_settings({"federation.tables": "local", "train.reestimate_batch_norm": True}, "test")
    published, rows = (find_method(name).configure(other) for name in ("fedavg", "fedavg-rows"))
    assert (published.federation.tables, published.train.reestimate_batch_norm) == ("plain", False)
    assert (rows.federation.tables, rows.train.reestimate_batch_norm) == ("rows", False)
    assert federated_method("fedavg").strategy is federated_method("fedavg-rows").strategy


def test_all_of_normalization_is_averaged() -> None:
    sharing = FedAvg.sharing_of(RunConfig())
    assert {Part.NORMALIZATION, Part.TOWER_NORMALIZATION} <= sharing.common
    assert sharing.parts == frozenset(Part) - PRIVATE


def test_the_averaged_statistics_predict(tiny: Tiny) -> None:
    config = tiny.config("fedavg", federation__rounds=1)
    run = tiny.trained(config)
    common = run.strategy.parameters.common
    statistics = [name for name in common if name.endswith(("running_mean", "running_var"))]
    assert statistics
    for scenario in ("FR", "US"):
        assert all(torch.equal(run.models[scenario][name], common[name]) for name in common)
    estimated = config.with_settings({"train.reestimate_batch_norm": True}, "test")
    assert run.result.test != tiny.trained(estimated).result.test


@pytest.mark.parametrize("tables", ["rows", "plain", "local"])
def test_methods_built_on_it_follow_the_common_settings(tables: str) -> None:
    config = RunConfig().with_settings({"federation.tables": tables}, "test")
    built = [
        method
        for method in METHODS.values()
        if isinstance(method, FederatedMethod) and issubclass(method.strategy, FedAvg) and "fedavg" not in method.name
    ]
    assert {"fedprox", "fedbn", "fedper", "fedrep", "ditto", "mr-mtl", "apfl", "fedala"} <= {m.name for m in built}
    for method in built:
        own = method.configure(config)
        assert own.federation.tables == tables, method.name
        assert own.train.reestimate_batch_norm, method.name


@pytest.mark.parametrize("conf", sorted(path.stem for path in CONF_FOLDER.glob("*.yaml")))
def test_no_file_gives_a_method_tables_or_statistics_of_its_own(conf: str) -> None:
    config = load_config(conf)
    for name in METHODS:
        apart = {"federation.tables", "train.reestimate_batch_norm"} & config.methods.get(name, {}).keys()
        assert not apart, name
    assert find_method("fedprox").configure(config).federation.tables == "rows"
