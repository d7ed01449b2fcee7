"""A scenario's share of a pooled model predicts, from the scenario's own values, what the whole model predicts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stores import split_of, store_of

from pfmsmtrec_flwr.central.pool import Identities, pool_rows
from pfmsmtrec_flwr.central.scenario_share import scenario_share
from pfmsmtrec_flwr.config import RunConfig
from pfmsmtrec_flwr.data.store.manifest import Field
from pfmsmtrec_flwr.model import build_model, make_model
from pfmsmtrec_flwr.training.evaluation import predict

CONFIG = RunConfig().with_settings({"model.embedding_dim": 3, "model.experts": 2}, "test")
CPU = torch.device("cpu")


def fields(users: int, tags: int) -> list[Field]:
    return [Field("user", users, False), Field("item", 4, True), Field("tags", tags, False, 2)]


STORES = [
    store_of(
        "DE", fields(4, 3), split_of([[1, 3, 2, 1], [2, 0, 1, 0], [3, 1, 0, 0], [0, 2, 2, 0]], users=[9, 5, 7, 6])
    ),
    store_of("NL", fields(3, 4), split_of([[1, 1, 3, 2], [2, 2, 1, 3], [2, 3, 0, 0]], users=[7, 8, 8])),
]


@pytest.mark.parametrize("identities", ["private", "shared"])
@pytest.mark.parametrize("number", [1, 2])
def test_own_values_have_the_predictions_of_the_whole_model(identities: Identities, number: int) -> None:
    store = STORES[number - 1]
    pool = pool_rows(STORES, CONFIG, identities)
    whole = build_model(pool.spec, CONFIG.model, seed=1)
    share = scenario_share(pool, store.scenario, whole, whole.state_dict())
    assert [field.rows for field in share.spec.fields] == [*(field.size for field in store.fields), 3]
    assert share.scenario_value == number
    model = make_model(share.spec, CONFIG.model)
    model.load_state_dict(dict(share.tensors))
    own = store.splits["test"]
    last = np.full((len(own), 1), number)
    rows = split_of(np.concatenate([own.categorical, last], axis=1).tolist())
    assert (predict(model, rows, CPU) == predict(whole, pool.of("test", store.scenario), CPU)).all()


def test_a_share_has_no_users_of_others() -> None:
    pool = pool_rows(STORES, CONFIG)
    whole = build_model(pool.spec, CONFIG.model, seed=1)
    share = scenario_share(pool, "NL", whole, whole.state_dict())
    assert share.tensors["local_embeddings.weight"].shape == (3 + 4 + 3, 3)
    assert share.tensors["federated_embeddings.weight"].shape == (4, 3)
