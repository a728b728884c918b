"""SSH signatures as `ssh-keygen -Y sign` and `git commit -S` write them, from bytes to values.

Source: OpenSSH, PROTOCOL.sshsig (version 1). Nothing here checks a signature; it only refuses what is
not exactly of that form.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, Literal

from pratique.errors import FormatError

MAX_ARMOUR_BYTES: Final = 64 << 10
_ARMOUR: Final = re.compile(
    rb"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n?-----END SSH SIGNATURE-----\n?\Z"
)
_MAGIC: Final = b"SSHSIG"

HashName = Literal["sha256", "sha512"]


@dataclass(frozen=True, slots=True)
class SshSignature:
    """One signature. `public_key` and `blob` are SSH wire form; `algorithm` names the scheme."""

    public_key: bytes
    namespace: bytes
    hash_name: HashName
    algorithm: str
    blob: bytes

    def covered(self, digest: bytes) -> bytes:
        """The bytes that the key signed, given the message's digest by `hash_name`."""
        fields = (self.namespace, b"", self.hash_name.encode(), digest)
        return _MAGIC + b"".join(ssh_string(field) for field in fields)


def ssh_string(value: bytes) -> bytes:
    """Encode as RFC 4251's `string`: four bytes of length, then the bytes."""
    return len(value).to_bytes(4, "big") + value


class Reader:
    """Takes RFC 4251 fields off the front of some bytes; refuses to read past the end."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def raw(self, size: int) -> bytes:
        """Take `size` bytes."""
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise FormatError("SSH signature is cut short")
        self._at += size
        return piece

    def string(self) -> bytes:
        """Take one `string`."""
        return self.raw(int.from_bytes(self.raw(4), "big"))

    def integer(self) -> int:
        """Take one `mpint`, which must not be negative."""
        raw = self.string()
        if raw[:1] >= b"\x80":
            raise FormatError("SSH signature has a negative number")
        return int.from_bytes(raw, "big")

    def end(self) -> None:
        """Refuse bytes that are left over."""
        if self._at != len(self._data):
            raise FormatError("SSH signature has bytes left over")


def parse_ssh_signature(armoured: bytes) -> SshSignature:
    """Parse an armoured signature. Raises FormatError unless every field is of the known form."""
    if len(armoured) > MAX_ARMOUR_BYTES or not (match := _ARMOUR.match(armoured)):
        raise FormatError("not an SSH signature")
    try:
        raw = base64.b64decode(match[1].replace(b"\n", b""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError("SSH signature is not base64") from error
    reader = Reader(raw)
    if reader.raw(6) != _MAGIC or reader.raw(4) != b"\0\0\0\1":
        raise FormatError("SSH signature has another magic or version")
    public_key, namespace, reserved = reader.string(), reader.string(), reader.string()
    hash_name, signature = reader.string(), reader.string()
    reader.end()
    if reserved:
        raise FormatError("SSH signature uses its reserved field")
    inner = Reader(signature)
    algorithm, blob = inner.string(), inner.string()
    inner.end()
    name: HashName
    match hash_name:
        case b"sha256":
            name = "sha256"
        case b"sha512":
            name = "sha512"
        case _:
            raise FormatError("SSH signature uses another hash than SHA-256 or SHA-512")
    return SshSignature(
        public_key=public_key,
        namespace=namespace,
        hash_name=name,
        algorithm=algorithm.decode("latin-1"),
        blob=blob,
    )
