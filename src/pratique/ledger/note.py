"""Signed notes and checkpoints, as C2SP writes them: text that a person can print and a machine check.

C2SP signed-note v1.0.0 and tlog-checkpoint, with Ed25519 (signature type 0x01) and one line per
signer. What comes in is parsed strictly: a checkpoint of ours has three lines, no extensions, a size
without leading zeros, a root in canonical base64; anything else is refused. Parsing alone verifies
nothing: only `LogKey.open` returns a `Checkpoint` that somebody signed.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pratique.core.ids import shown
from pratique.errors import FormatError, VerificationRefused
from pratique.ledger.merkle import HASH_BYTES, MAX_SIZE

MAX_NOTE_BYTES: Final = 16_384
MAX_SIGNATURES: Final = 16
_ED25519: Final = b"\x01"
_KEY_BYTES: Final = 32
_NAME: Final = re.compile(r"[!-*,-~]{1,200}\Z")
"""Printable ASCII without space and plus."""
_SIZE: Final = re.compile(r"(?:0|[1-9][0-9]{0,15})\Z")
_SIGNATURE: Final = re.compile(r"— (\S+) (\S+)\Z")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: which log, how many entries, and the hash over all of them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Render the note text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class LogKey:
    """Who may sign for a log: a key name and an Ed25519 public key (32 bytes)."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise FormatError(f"not a log's name: {shown(self.name)}")
        if len(self.public) != _KEY_BYTES:
            raise FormatError("an Ed25519 public key has 32 bytes")

    @property
    def key_id(self) -> bytes:
        """The four bytes that precede each signature."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(named).digest()[:4]

    def vkey(self) -> str:
        """Render as one line, `NAME+KEYID+BASE64`, as other note tools read it."""
        encoded = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> "LogKey":
        """Read what `vkey` wrote. Raises FormatError for anything else, a wrong key id included."""
        parts = text.strip("\n").split("+", 2)
        if len(parts) != 3:
            raise FormatError(f"not a log's verification key: {shown(text)}")
        raw = _unbase64(parts[2])
        if raw[:1] != _ED25519:
            raise FormatError("the log's verification key is not an Ed25519 key")
        key = cls(parts[0], raw[1:])
        if key.vkey() != text.strip("\n"):
            raise FormatError("the log's verification key does not match its key id")
        return key

    def open(self, note: bytes) -> Checkpoint:
        """Verify a signed checkpoint and return it.

        Raises FormatError if it is no checkpoint, VerificationRefused unless this key signed it for
        the log of its own name. Other signers' lines (witnesses) are ignored, as the spec wants.
        """
        text, signatures = split_note(note)
        checkpoint = parse_checkpoint(text)
        if checkpoint.origin != self.name:
            raise VerificationRefused(
                f"the checkpoint speaks of another log: {shown(checkpoint.origin)}"
            )
        ours = [s for name, key_id, s in signatures if (name, key_id) == (self.name, self.key_id)]
        if not ours:
            raise VerificationRefused("the checkpoint has no signature by the log's key")
        public = Ed25519PublicKey.from_public_bytes(self.public)
        for signature in ours:
            try:
                public.verify(signature, text.encode())
            except InvalidSignature as error:
                raise VerificationRefused("the checkpoint's signature does not verify") from error
        return checkpoint


def sign_note(text: str, name: str, key: Ed25519PrivateKey) -> bytes:
    """Sign `text` (ending in a newline). Ed25519 is deterministic: the same note, the same bytes."""
    public = LogKey(name, key.public_key().public_bytes_raw())
    signature = public.key_id + key.sign(text.encode())
    return f"{text}\n— {name} {base64.b64encode(signature).decode()}\n".encode()


def split_note(note: bytes) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Split a note into its text and its (name, key id, signature) lines. Verifies nothing."""
    if len(note) > MAX_NOTE_BYTES:
        raise FormatError(f"the note is longer than {MAX_NOTE_BYTES} bytes")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("the note is not UTF-8") from error
    if any(char < " " and char != "\n" for char in whole):
        raise FormatError("the note has a control character")
    text, blank, tail = whole.rpartition("\n\n")
    if not blank or not text or not tail.endswith("\n"):
        raise FormatError("the note has no signature lines")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise FormatError(f"the note has more than {MAX_SIGNATURES} signatures")
    return text + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes, bytes]:
    match = _SIGNATURE.match(line)
    if match is None:
        raise FormatError(f"the note has a malformed signature line: {shown(line)}")
    raw = _unbase64(match[2])
    if len(raw) < 5:
        raise FormatError("the note has a signature that is too short")
    return match[1], raw[:4], raw[4:]


def parse_checkpoint(text: str) -> Checkpoint:
    """Parse a checkpoint's note text. Verifies no signature."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise FormatError("a checkpoint has three lines: origin, size, root")
    if not _NAME.match(lines[0]):
        raise FormatError("the checkpoint's origin is not a log's name")
    if not _SIZE.match(lines[1]) or int(lines[1]) >= MAX_SIZE:
        raise FormatError("the checkpoint's size is not a plain decimal number")
    root = _unbase64(lines[2])
    if len(root) != HASH_BYTES:
        raise FormatError("the checkpoint's root is not a SHA-256 hash")
    return Checkpoint(lines[0], int(lines[1]), root)


def _unbase64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError("malformed base64 in a signed note") from error
    if base64.b64encode(raw).decode() != text:  # one spelling for one value
        raise FormatError("base64 in a signed note is not in its canonical form")
    return raw
