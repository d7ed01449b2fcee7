from __future__ import annotations

import pytest
from federated import Tiny, same

from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.methods import METHODS
from pfmsmtrec_flwr.methods.alone_models import METHODS as ALONE
from pfmsmtrec_flwr.methods.base import FederatedMethod


@pytest.mark.parametrize("method", ALONE, ids=lambda method: str(method.name))
def test_each_trains_a_model_of_its_architecture_without_company(tiny: Tiny, method: FederatedMethod) -> None:
    assert METHODS[method.name] is method
    assert method.family == "alone"

    def config(**settings: object) -> RunConfig:
        return method.configure(tiny.config(method.name, **settings).with_settings({"model.experts": 3}, "test"))

    assert config().model.architecture == method.name.removeprefix("alone-")
    assert config().model.template == "none"
    together = tiny.trained(config())
    single = tiny.trained(config(federation__scenarios=["US"]))
    assert same({"US": together.models["US"]}, single.models)
    assert not same(together.models, tiny.trained(tiny.config("alone")).models)
    assert together.grid.replies
    assert all(record.up_bytes == 0 for record in together.result.rounds)


def test_what_there_is_to_tune_is_in_the_configuration(tiny: Tiny) -> None:
    for method in ALONE:
        for key, values in method.space.items():
            for value in values:
                assert method.configure(tiny.config()).with_settings({key: value}, "test")
