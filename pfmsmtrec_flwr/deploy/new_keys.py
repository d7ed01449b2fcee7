"""Private keys, which only their owner may read and which are never overwritten."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.private_files import FILE_MODE


def private_key_at(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key of a file; a missing file is made with a new key, in PEM.

    Raises
    ------
    UserError
        The file holds no such key.
    """
    if not path.exists():
        return _new_key_at(path, serialization.PrivateFormat.PKCS8)
    try:
        return cast(ec.EllipticCurvePrivateKey, serialization.load_pem_private_key(path.read_bytes(), None))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UserError(f"cannot read a private key from {path}: {error}") from None


def node_key_at(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key of a SuperNode; a missing file is made with a new key, in the format of SSH, as Flower reads it.

    Raises
    ------
    UserError
        The file holds no such key.
    """
    if not path.exists():
        return _new_key_at(path, serialization.PrivateFormat.OpenSSH)
    return read_node_key(path)


def read_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key of a SuperNode.

    Raises
    ------
    UserError
        The file is missing, or holds no ECDSA key in the format of SSH.
    """
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UserError(f"cannot read an SSH private key from {path}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UserError(f"{path} holds no ECDSA key: make one with `ssh-keygen -t ecdsa -b 384`")
    return key


def public_line(key: ec.EllipticCurvePrivateKey) -> str:
    """Return the public key in the format of SSH, which `flwr supernode register` takes."""
    encoded = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return encoded.decode("ascii")


def _new_key_at(path: Path, form: serialization.PrivateFormat) -> ec.EllipticCurvePrivateKey:
    """Write a new key to a file that does not exist yet, and return it."""
    key = ec.generate_private_key(ec.SECP384R1())
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, FILE_MODE)) as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return key
