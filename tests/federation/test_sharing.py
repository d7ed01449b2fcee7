from __future__ import annotations

import pytest

from pfmsmtrec_flwr.federation.sharing import PRIVATE, Sharing, names_of
from pfmsmtrec_flwr.methods import METHODS, FederatedMethod
from pfmsmtrec_flwr.model import Part, Slot


@pytest.mark.parametrize("part", sorted(PRIVATE))
def test_private_parts_cannot_be_shared(part: Part) -> None:
    with pytest.raises(ValueError, match="never leave a scenario"):
        Sharing(common=frozenset({part}))
    with pytest.raises(ValueError, match="never leave a scenario"):
        Sharing(personal=frozenset({part, Part.TOWER}))


def test_a_part_is_common_or_personal() -> None:
    with pytest.raises(ValueError, match="both common and personal"):
        Sharing(frozenset({Part.TOWER}), frozenset({Part.TOWER}))
    sharing = Sharing(frozenset({Part.GATE}), frozenset({Part.TOWER}))
    assert sharing.parts == {Part.GATE, Part.TOWER}
    assert sharing.without(Part.TOWER) == Sharing(frozenset({Part.GATE}))
    assert sharing.without(Part.GATE).parts == {Part.TOWER}


def test_names_come_in_the_models_order() -> None:
    slots = {name: Slot(name, part) for name, part in (("z", Part.TOWER), ("b", Part.GATE), ("a", Part.TOWER))}
    assert names_of(slots, [Part.TOWER]) == ["z", "a"]
    assert names_of(slots, []) == []


def test_no_method_shares_what_is_private() -> None:
    from pfmsmtrec_flwr.config import RunConfig

    for method in (method for method in METHODS.values() if isinstance(method, FederatedMethod)):
        assert not method.strategy.sharing_of(RunConfig()).parts & PRIVATE
