"""A keyed fingerprint of a prompt: the same words give the same digest, and only the key's holder can tell.

Written only where the policy asks for it, so that an auditor with the key can find a prompt they
already know. Without the key it says nothing (HMAC-SHA256, cut to 128 bits).
"""

import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from pratique.errors import StorageError

_KEY: Final = Path("keys") / "fingerprint.key"
_KEY_BYTES: Final = 32


class Marker:
    """Makes fingerprints under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._id = hmac.digest(key, b"pratique prompt fingerprint key id", "sha256").hex()[:8]

    def of(self, pieces: list[bytes]) -> str:
        """Return `KEYID:DIGEST` of a prompt's pieces. Each piece's length is covered."""
        mac = hmac.new(self._key, digestmod="sha256")
        for piece in pieces:
            mac.update(len(piece).to_bytes(8) + piece)
        return f"{self._id}:{mac.hexdigest()[:32]}"


def marker(home: Path) -> Marker:
    """Read the home's key, or make it (mode 0600) on first use. Raises StorageError."""
    path = home / _KEY
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"cannot use {path}: {error.strerror}", hint="see the home's mode"
        ) from error
    if len(key) != _KEY_BYTES:
        raise StorageError(
            f"{path} is no key of {_KEY_BYTES} bytes", hint="remove it to make another"
        )
    return Marker(key)
