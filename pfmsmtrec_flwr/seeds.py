"""Seeds of random draws, derived from words and numbers, never from a global state."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: str | int) -> int:
    """Derive a 63-bit seed from what identifies a draw, such as ``(seed, "shuffle", round, scenario)``.

    Examples
    --------
    >>> derive_seed(0, "shuffle", 1, "NL") == derive_seed(0, "shuffle", 1, "NL")
    True
    >>> derive_seed(0, "shuffle", 1, "NL") == derive_seed(0, "shuffle", 2, "NL")
    False
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
