"""Binding of scenarios to the keys of nodes, which the server checks at the start of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.log import logger
from pfmsmtrec_flwr.validation import dump_yaml, read_yaml

if TYPE_CHECKING:
    from flwr.serverapp import Grid

BINDING_VARIABLE = "PFMSMTREC_BINDING"
"""Variable of the server's environment that names the file; whoever starts a run cannot set it."""

_FINGERPRINT_SIGNS = 12


@dataclass(frozen=True, slots=True)
class Binding:
    """Keys to which scenarios are bound.

    Attributes
    ----------
    keys
        Public key of each scenario, DER bytes of its SubjectPublicKeyInfo. A scenario that is missing has no node.
    active
        Whether the server has a binding; without one, every node may host every scenario.
    """

    keys: Mapping[str, bytes] = field(default_factory=dict)
    active: bool = False

    @classmethod
    def of_server(cls) -> Binding:
        """Read the binding that the server's environment names.

        Raises
        ------
        UserError
            The file is missing, or a key in it cannot be read.
        """
        path = os.environ.get(BINDING_VARIABLE, "")
        return read_binding(Path(path)) if path else cls()

    def scenarios_of(self, key: bytes) -> list[str]:
        """Return the scenarios that are bound to a public key, as Flower reports it."""
        held = _held_key(key)
        return sorted(name for name, bound in self.keys.items() if held and bound == held)


class Doorkeeper:
    """Keeper of a run's door: nodes whose key is bound to no scenario are not asked, and claims are checked.

    Parameters
    ----------
    grid
        Grid of the run.
    binding
        Binding of the server.
    """

    def __init__(self, grid: Grid, binding: Binding) -> None:
        self._grid = grid
        self._binding = binding
        self._allowed: dict[int, list[str]] = {}
        self._strangers: set[int] = set()

    def online(self) -> list[int]:
        """Return the nodes that are online and may speak; others are named in the log, once."""
        if not self._binding.active:
            return list(self._grid.get_node_ids())
        nodes = [(int(node.node_id), node.name, bytes(node.public_key)) for node in self._grid.get_nodes()]
        for node, name, key in nodes:
            if node not in self._allowed:
                self._allowed[node] = self._binding.scenarios_of(key)
            if not self._allowed[node] and node not in self._strangers:
                self._strangers.add(node)
                shown = f"its key {fingerprint(_held_key(key))} is bound to no scenario" if key else "it has no key"
                logger.warning("left out: node %d%s, %s", node, name and f" ({name})", shown)
        return [node for node, _, _ in nodes if self._allowed[node]]

    def refusal(self, node: int, scenarios: Iterable[str]) -> str:
        """Return why a node may not host the scenarios that it claims; empty if it may. A refusal is logged."""
        own = self._allowed.get(node, [])
        foreign = sorted(set(scenarios) - set(own)) if self._binding.active else []
        if not foreign:
            return ""
        reason = f"node {node} claims scenario {', '.join(foreign)}, and its key is bound to {', '.join(own) or 'none'}"
        logger.warning("left out: %s", reason)
        return reason


def read_binding(path: Path) -> Binding:
    """Read a binding.

    Raises
    ------
    UserError
        The file cannot be read, or a value is no public key in the format of SSH.
    """
    return Binding({name: _bound_key(path, name, line) for name, line in read_yaml(path).items()}, active=True)


def binding_text(keys: Mapping[str, str]) -> str:
    """Return the text of a binding of scenarios to public keys in the format of SSH."""
    return (
        "# Public key of the node that may host each scenario. A node with another key is refused.\n"
        f"{dump_yaml(dict(sorted(keys.items())))}"
    )


def fingerprint(key: bytes) -> str:
    """Return a short name of a key, for people to compare: the start of the SHA-256 of its DER bytes."""
    import hashlib

    return hashlib.sha256(key).hexdigest()[:_FINGERPRINT_SIGNS]


def key_bytes(line: str) -> bytes:
    """Return the DER bytes of a public key in the format of SSH.

    Raises
    ------
    ValueError
        The line is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_ssh_public_key(line.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _bound_key(path: Path, scenario: str, line: object) -> bytes:
    try:
        return key_bytes(str(line))
    except ValueError as error:
        raise UserError(
            f"{path}: the key of scenario {scenario} is no public key in the format of SSH: {error}"
        ) from None


def _held_key(key: bytes) -> bytes:
    """Return the DER bytes of a key that Flower reports in PEM; empty if there is none that can be read."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        loaded = serialization.load_pem_public_key(key)
    except (ValueError, UnsupportedAlgorithm):
        return b""
    return loaded.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
