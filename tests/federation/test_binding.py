"""The binding of scenarios to keys, checked before a node is asked and against what it claims."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pfmsmtrec_flwr.deploy.new_keys import public_line
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.binding import BINDING_VARIABLE, Binding, Doorkeeper, binding_text, read_binding

KEYS = {name: ec.generate_private_key(ec.SECP384R1()) for name in ("NL", "ES", "stranger")}


def reported(name: str) -> bytes:
    """A key as Flower reports it."""
    public = KEYS[name].public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Node:
    node_id: int
    public_key: bytes
    name: str = ""


class Nodes:
    def __init__(self, *nodes: Node) -> None:
        self.nodes = nodes

    def get_nodes(self) -> tuple[Node, ...]:
        return self.nodes

    def get_node_ids(self) -> list[int]:
        return [node.node_id for node in self.nodes]


@pytest.fixture
def binding(tmp_path: Path) -> Binding:
    path = tmp_path / "binding.yaml"
    path.write_text(binding_text({name: public_line(KEYS[name]) for name in ("NL", "ES")}))
    return read_binding(path)


def keeper(binding: Binding, *nodes: Node) -> Doorkeeper:
    return Doorkeeper(cast(Any, Nodes(*nodes)), binding)


def test_a_stranger_is_not_asked_and_named_once(binding: Binding, logged: list[str]) -> None:
    nodes = Node(3, reported("NL")), Node(5, reported("stranger"), "ES"), Node(7, b"")
    door = keeper(binding, *nodes)
    assert door.online() == door.online() == [3]
    assert len(logged) == 2
    assert logged[0].startswith("left out: node 5 (ES), its key ")
    assert logged[0].endswith(" is bound to no scenario")
    assert logged[1] == "left out: node 7, it has no key"
    assert door.refusal(5, ["ES"]) == "node 5 claims scenario ES, and its key is bound to none"


def test_a_node_may_claim_its_own_scenarios_only(binding: Binding, logged: list[str]) -> None:
    door = keeper(binding, Node(3, reported("NL")), Node(4, reported("ES")))
    assert door.online() == [3, 4]
    assert not door.refusal(3, ["NL"])
    assert not door.refusal(4, [])
    assert not logged
    refused = "node 3 claims scenario ES, and its key is bound to NL"
    assert door.refusal(3, ["NL", "ES"]) == refused
    assert logged == [f"left out: {refused}"]


def test_without_a_binding_all_nodes_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BINDING_VARIABLE, raising=False)
    door = keeper(Binding.of_server(), Node(3, b""), Node(4, b""))
    assert door.online() == [3, 4]
    assert not door.refusal(3, ["ES"])


def test_a_binding_that_cannot_be_read_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BINDING_VARIABLE, str(tmp_path / "missing.yaml"))
    with pytest.raises(UserError, match="cannot read"):
        Binding.of_server()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("ES: -----BEGIN PUBLIC KEY-----\n")
    monkeypatch.setenv(BINDING_VARIABLE, str(wrong))
    with pytest.raises(UserError, match="the key of scenario ES is no public key in the format of SSH"):
        Binding.of_server()
    wrong.write_text("")
    assert Binding.of_server().active  # an empty binding lets nobody in
