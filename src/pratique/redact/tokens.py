"""Replacement tokens: what stands in the place of what was found.

The rule: a token tells the type and, under a key, which findings are the same value, and
nothing else. Without the key nobody can test a guess, and without any key the token is bare.

`[EMAIL:k1:mzxw6ytboi2gk43u]` is HMAC-SHA-256 under key `k1` over the type and the normalised
value, cut to 80 bits: enough that two values do not share a token by chance in a log, and the
same person's e-mail address gets the same token whether it was written plainly or obfuscated.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pratique.errors import UsageError
from pratique.redact.types import EntityType
from pratique.redact.view import decoded_view, raw_view

MIN_KEY_BYTES = 32
_DIGEST_BYTES = 10
_KEY_ID = re.compile(r"k[0-9]{1,6}")
_LETTERS = {EntityType.EMAIL, EntityType.PERSON, EntityType.ADDRESS}
_EXACT = {EntityType.SECRET, EntityType.COOKIE, EntityType.URL_CREDENTIAL, EntityType.CRYPTO}

TOKEN = re.compile(
    rf"\[(?:{'|'.join(EntityType)})(?::k[0-9]{{1,6}}:(?=[2-7]*[a-z])[a-z2-7]{{16}})?\]"
)


@dataclass(frozen=True, slots=True, repr=False)
class KeyRing:
    """The keys of tokens: one that new tokens are made under, and older ones.

    Raises:
        UsageError: a key id is not ``k`` and a number, a key is shorter than 32 bytes, or the
            current key is not among the keys.
    """

    keys: Mapping[str, bytes]
    current: str

    def __post_init__(self) -> None:
        if self.current not in self.keys:
            raise UsageError(
                f"the key ring has no key {self.current!r}", hint="name one of its keys as current"
            )
        for key_id, key in self.keys.items():
            if not _KEY_ID.fullmatch(key_id):
                raise UsageError(
                    "a redaction key id is not 'k' and a number", hint="call keys k1, k2, …"
                )
            if len(key) < MIN_KEY_BYTES:
                raise UsageError(
                    f"redaction key {key_id} is shorter than {MIN_KEY_BYTES} bytes",
                    hint="make one with: head -c 32 /dev/urandom | base64",
                )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read lines of ``kN BASE64``; the last line is the current key.

        Raises:
            UsageError: a line has another form. No part of a key is repeated in the message.
        """
        keys: dict[str, bytes] = {}
        current = ""
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            key_id, _, value = line.strip().partition(" ")
            try:
                key = base64.b64decode(value.strip(), validate=True)
            except ValueError:
                key = b""
            if not key or key_id in keys:
                raise UsageError(
                    f"line {number} of the redaction key file is not a new 'kN BASE64'",
                    hint="write one key a line: k1, a space, 32 random bytes in base64",
                )
            keys[key_id] = key
            current = key_id
        return cls(keys, current)

    def __repr__(self) -> str:
        return f"KeyRing({sorted(self.keys)}, current={self.current!r})"

    def token(self, kind: EntityType, value: str, *, key_id: str | None = None) -> str:
        """Return the token of a value; an auditor passes the id of an older key."""
        name = key_id or self.current
        if name not in self.keys:
            raise UsageError(f"the key ring has no key {name!r}", hint="add the retired key")
        message = b"pratique.redact/v1\0" + kind.encode() + b"\0" + normalised(kind, value).encode()
        digest = hmac.new(self.keys[name], message, hashlib.sha256).digest()[:_DIGEST_BYTES]
        return f"[{kind}:{name}:{base64.b32encode(digest).decode().lower()}]"


def bare_token(kind: EntityType) -> str:
    """Return the token that is used without a key."""
    return f"[{kind}]"


def normalised(kind: EntityType, value: str) -> str:
    """Return the form of a value under which equal values are equal."""
    view = raw_view(value)
    text = (decoded_view(view) or view).text
    if kind in _EXACT:
        return text.strip()
    if kind in _LETTERS:
        return " ".join(text.casefold().split())
    return "".join(c for c in text.casefold() if c.isalnum())
