"""Gaussian noise on the update that leaves a scenario.

The update is the change of all tensors that leave, from what came to what training made of it. It is scaled down to a
norm as a whole, and each of its numbers gets Gaussian noise in proportion to that norm (the Gaussian mechanism).

Nobody but the site can compute the noise: it is drawn by the cipher ChaCha20 from a key that lies in the scenario's
folder and never leaves it. The noise follows from the key and from the update itself, so an exchange that is repeated
to the bit has the same reply, and no two updates have the same noise, whose difference would show both.

References
----------
Dwork and Roth, "The Algorithmic Foundations of Differential Privacy", 2014, appendix A. McMahan et al., "Learning
Differentially Private Recurrent Language Models", ICLR 2018, for the clipping of whole updates.

Examples
--------
>>> import torch
>>> from pfmsmtrec_flwr.config import PrivacySettings
>>> from pfmsmtrec_flwr.federation.client.noise import noised
>>> came, trained = {"weight": torch.zeros(2)}, {"weight": torch.tensor([3.0, 4.0])}
>>> nearly_none = PrivacySettings(noise=1e-9, clip_norm=1.0)
>>> [round(value, 3) for value in noised(came, trained, nearly_none, key=bytes(32))["weight"].tolist()]
[0.6, 0.8]
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from torch import Tensor

from pfmsmtrec_flwr.config import PrivacySettings
from pfmsmtrec_flwr.errors import UserError
from pfmsmtrec_flwr.federation.client.state import NOISE_KEY
from pfmsmtrec_flwr.federation.protocol import Tensors
from pfmsmtrec_flwr.private_files import FILE_MODE, make_private

_KEY_BYTES = 32
_FRACTION_BITS = 53


class GaussianStream:
    """Standard normal numbers that follow from a key.

    Parameters
    ----------
    key
        Key, 32 bytes, used for this stream alone.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(ChaCha20(key, nonce=bytes(16)), mode=None).encryptor()

    def take(self, shape: torch.Size) -> Tensor:
        """Return the next numbers as a tensor of a shape, float64, at most 8.3 in size."""
        count = shape.numel()
        stream = np.frombuffer(self._cipher.update(bytes(8 * count)), dtype="<u8")
        uniform = ((stream >> np.uint64(64 - _FRACTION_BITS)).astype(np.float64) + 0.5) / 2.0**_FRACTION_BITS
        normal: Tensor = torch.special.ndtri(torch.from_numpy(uniform))
        return normal.view(shape)


def noised(
    came: Mapping[str, Tensor], trained: Mapping[str, Tensor], settings: PrivacySettings, *, key: bytes
) -> Tensors:
    """Return what came plus its clipped and noised change.

    Parameters
    ----------
    came
        Values that came with the order, by name.
    trained
        Values of the same tensors after training.
    settings
        Norm to clip to, and size of the noise.
    key
        Key of the scenario.

    Raises
    ------
    UserError
        A value is not finite.
    """
    changes = {name: value.detach().cpu().double() - came[name].cpu().double() for name, value in trained.items()}
    norm = math.sqrt(sum(float(change.square().sum()) for change in changes.values()))
    if not math.isfinite(norm):
        raise UserError("the update is not finite, and noise would not hide that: nothing is sent; lower train.lr")
    scale = min(1.0, settings.clip_norm / norm) if norm else 1.0
    stream = GaussianStream(_key_of(key, changes, settings))
    deviation = settings.noise * settings.clip_norm
    sent = {}
    for name, change in changes.items():
        noise = deviation * stream.take(change.shape)
        sent[name] = (came[name].cpu().double() + scale * change + noise).to(trained[name].dtype)
    return sent


def site_key(folder: Path) -> bytes:
    """Return the key of a scenario, which is drawn and kept when it is first needed.

    Raises
    ------
    UserError
        The key can be neither read nor written, or is damaged.
    """
    path = folder / NOISE_KEY
    try:
        if not path.exists():
            make_private(folder)
            _write_new(path, secrets.token_bytes(_KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise UserError(f"no noise without the key {path} ({error.strerror}): nothing is sent") from None
    if len(key) != _KEY_BYTES:
        raise UserError(f"{path} has {len(key)} bytes, expected {_KEY_BYTES}: nothing is sent; delete the file")
    return key


def _write_new(path: Path, key: bytes) -> None:
    """Write a file that only its owner may read; it appears whole, and one that exists stays."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, FILE_MODE)) as stream:
        stream.write(key)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink()


def _key_of(key: bytes, changes: Mapping[str, Tensor], settings: PrivacySettings) -> bytes:
    """Return the key of one update's noise, a keyed hash of the update and of the settings of the noise."""
    digest = hashlib.blake2b(key=key, digest_size=_KEY_BYTES)
    digest.update(f"{settings.noise!r} {settings.clip_norm!r}".encode())
    for name, change in changes.items():
        digest.update(f"\n{name} {tuple(change.shape)}\n".encode())
        digest.update(change.contiguous().numpy().tobytes())
    return digest.digest()
