from __future__ import annotations

import numpy as np
import pytest
from federated import Tiny
from stores import split_of, store_of

from pfmsmtrec_flwr.data.store.manifest import Field
from pfmsmtrec_flwr.data.store.reader import ScenarioStore
from pfmsmtrec_flwr.methods import METHODS, CentralMethod
from pfmsmtrec_flwr.methods.floor import METHODS as FLOOR


@pytest.mark.parametrize("method", FLOOR, ids=lambda method: str(method.name))
def test_each_is_known_and_measures_every_scenario_in_one_round(tiny: Tiny, method: CentralMethod) -> None:
    assert METHODS[method.name] is method
    assert method.family == "floor"
    assert method.parameters == ("global" if method.name.endswith("-pooled") else "personalised")
    own = method.configure(tiny.config())
    assert own.federation.rounds == 1
    result = method.train(own, [ScenarioStore.open(tiny.root / "tiny" / name) for name in ("FR", "US")], None)
    assert len(result.rounds) == 1
    assert result.test.keys() == {"FR", "US"}
    # Rows are too few for a leaf.
    assert (result.test["US"]["auc.click"] == 0.5) == (not method.name.startswith("logistic"))


@pytest.mark.parametrize("name", ["logistic-alone", "trees-alone"])
def test_knobs_change_what_is_predicted(tiny: Tiny, name: str) -> None:
    generator = np.random.default_rng(0)
    values, numbers = generator.integers(0, (20, 40), (1500, 2)), generator.standard_normal((1500, 2))
    labels = values[:, :1] % 10 + numbers[:, :1] * numbers[:, 1:] + generator.standard_normal((1500, 1)) > 4
    rows = split_of(values.tolist(), labels.astype(int).tolist(), numeric=numbers.tolist())
    fields = [Field("item", 20, True), Field("hour", 40, True)]
    method = METHODS[name]
    assert isinstance(method, CentralMethod)
    config = method.configure(tiny.config(name))
    for key, choices in ((key, tuple(choices)) for key, choices in method.space.items()):
        losses = {
            method.train(config.with_own({key: value}, "test"), [store_of("A", fields, rows)], None).test["A"][
                "logloss.click"
            ]
            for value in choices
        }
        assert len(losses) == len(choices), key
