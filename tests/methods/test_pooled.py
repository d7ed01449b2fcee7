from __future__ import annotations

import pytest
from federated import Tiny
from stores import split_of, store_of

from pfmsmtrec_flwr.data.store.manifest import Field
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.methods import METHODS, CentralMethod, federated_method
from pfmsmtrec_flwr.methods.pooled import METHODS as POOLED


def test_all_are_known_and_none_is_for_a_federation(tiny: Tiny) -> None:
    assert [method.name for method in POOLED] == [
        "pooled-shared-bottom",
        "pooled-mmoe",
        "pooled-ple",
        "pooled-aitm",
        "pooled-star",
        "pooled-pepnet",
        "pooled-stem",
        "pooled-m3oe",
        "pooled-mmoe-shared-ids",
    ]
    for method in POOLED:
        assert METHODS[method.name] is method
        assert method.family == "pooled"
        own = method.configure(tiny.config(model__template="additive"))
        assert own.model.architecture == method.name.removeprefix("pooled-").removesuffix("-shared-ids")
        assert (own.model.template, own.train.optimizer_state) == ("none", "keep")
        with pytest.raises(UserError, match=f"^method '{method.name}' needs the rows of all scenarios in one place"):
            federated_method(method.name)


def test_what_there_is_to_tune_is_in_the_configuration(tiny: Tiny) -> None:
    for method in POOLED:
        for key, values in method.space.items():
            for value in values:
                assert method.configure(tiny.config()).with_settings({key: value}, "test")


@pytest.mark.parametrize("name", ["pooled-mmoe", "pooled-mmoe-shared-ids"])
def test_only_with_shared_identities_a_person_is_known_again(tiny: Tiny, name: str) -> None:
    """Nothing but the person tells clicks; B's rows for measuring are of people whom only A has met."""
    people, clicks = list(range(1, 9)), [[person % 2] for person in range(1, 9)]
    fields = [Field("person", 9, False)]
    met = split_of([[person] for person in people] * 8, clicks * 8, users=people * 8)
    strangers = split_of([[person] for person in people], clicks, users=[10 + person for person in people])
    known_to_other = split_of([[0]] * 8, clicks, users=people)
    one = store_of("A", fields, met)
    other = store_of("B", fields, {"train": strangers, "validation": known_to_other, "test": known_to_other})
    method = METHODS[name]
    assert isinstance(method, CentralMethod)
    config = method.configure(tiny.config(name, train__lr=0.05, federation__rounds=20))
    auc = method.train(config, [one, other], None).test["B"]["auc.click"]
    assert auc == (1.0 if name.endswith("shared-ids") else 0.5)
