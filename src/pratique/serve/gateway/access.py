"""Who may ask, how often, and from where.

Keys are random and long, so that a plain SHA-256 of each is enough to keep in a file; the file holds
no key. Looking a digest up in a table tells nothing about the keys that are not it. Without a keys
file only the loopback interface and a Unix socket are served.
"""

import hashlib
import math
import secrets
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pratique.core.ids import parse_digest
from pratique.errors import UnreadableInput, UsageError
from pratique.serve.gateway.errors import ApiError

ANONYMOUS: Final = "-"
_MAX_FILE: Final = 4 * 2**20
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)


class Key(BaseModel):
    """One caller. Limits are per minute; None is no limit."""

    model_config = _STRICT

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")
    sha256: Annotated[str, AfterValidator(parse_digest)]
    requests_per_minute: int | None = Field(default=None, gt=0)
    tokens_per_minute: int | None = Field(default=None, gt=0)


class _KeyFile(BaseModel):
    model_config = _STRICT

    key: tuple[Key, ...] = Field(min_length=1)


def new_key(name: str) -> tuple[str, str]:
    """Return a fresh key and the lines that go into the keys file."""
    secret = f"pk-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    try:
        Key(id=name, sha256=digest)
    except ValidationError as error:
        raise UsageError("a key's id is 1 to 64 letters, digits, '.', '_', '@', '-'") from error
    return secret, f'[[key]]\nid = "{name}"\nsha256 = "{digest}"\n'


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read a keys file. Raises UnreadableInput."""
    hint = "make a key with `pratique serve --new-key ID`"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            raise UnreadableInput(f"{path} is longer than {_MAX_FILE} bytes", hint=hint)
        # TOML has no tuples: strict validation is told to take lists through JSON-like input.
        keys = _KeyFile.model_validate(tomllib.loads(data.decode()), strict=False).key
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableInput(f"{path} is not a keys file", hint=hint) from error
    if len({key.id for key in keys}) != len(keys) or len({k.sha256 for k in keys}) != len(keys):
        raise UnreadableInput(f"{path} names a key twice", hint=hint)
    return keys


@dataclass(slots=True)
class _Bucket:
    """A token bucket: refills evenly, holds one minute's worth, may go into debt."""

    per_minute: int
    level: float
    at: float

    def wait(self, now: float) -> float:
        """Seconds until one unit is there."""
        self.level = min(self.per_minute, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now
        return max(0.0, (1.0 - self.level) * 60 / self.per_minute)


class Callers:
    """Checks keys and counts what each uses."""

    def __init__(
        self, keys: tuple[Key, ...], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = {key.sha256: key for key in keys}
        self._scopes = {ANONYMOUS: 0, **{key.id: at for at, key in enumerate(keys, start=1)}}
        self._clock = clock
        now = clock()
        self._requests = {
            k.id: _Bucket(k.requests_per_minute, k.requests_per_minute, now)
            for k in keys
            if k.requests_per_minute
        }
        self._tokens = {
            k.id: _Bucket(k.tokens_per_minute, k.tokens_per_minute, now)
            for k in keys
            if k.tokens_per_minute
        }

    @property
    def required(self) -> bool:
        """Whether a key is needed at all."""
        return bool(self._keys)

    def identify(self, authorization: str | None) -> str:
        """Return the caller's key id. Raises ApiError 401."""
        if not self._keys:
            return ANONYMOUS
        scheme, _, secret = (authorization or "").partition(" ")
        digest = hashlib.sha256(secret.strip().encode("utf-8", "replace")).hexdigest()
        key = self._keys.get(digest)
        if scheme.lower() != "bearer" or key is None:
            raise ApiError(
                401,
                "a valid API key is needed",
                kind="authentication_error",
                code="invalid_api_key",
            )
        return key.id

    def scope(self, caller: str) -> int:
        """Return the number under which the worker knows a caller: nothing of the key is in it."""
        return self._scopes[caller]

    def spend_request(self, caller: str) -> None:
        """Count one request. Raises ApiError 429 if the caller's limits are used up."""
        now = self._clock()
        for bucket, what in ((self._tokens.get(caller), "tokens"),):
            if bucket is not None and (seconds := bucket.wait(now)) > 0:
                raise _limited(what, seconds)
        bucket = self._requests.get(caller)
        if bucket is not None:
            if (seconds := bucket.wait(now)) > 0:
                raise _limited("requests", seconds)
            bucket.level -= 1

    def spend_tokens(self, caller: str, count: int) -> None:
        """Count tokens that were used; the bucket may go into debt, which the next request pays."""
        bucket = self._tokens.get(caller)
        if bucket is not None:
            bucket.wait(self._clock())
            bucket.level -= count


def _limited(what: str, seconds: float) -> ApiError:
    return ApiError(
        429,
        f"this key's limit of {what} per minute is used up",
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after=max(1, math.ceil(seconds)),
    )
