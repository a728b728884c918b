"""Who signs checkpoints: a signer that follows the tree itself and signs nothing but its extensions.

The log's writer never hands over a root to be signed. It hands over leaf hashes; the signer appends
them to its own tree and signs the head that it computed. So a writer that was taken over can add
events, but cannot have a rewritten, shortened or second history signed. The signer remembers the last
head it signed beside its key, across restarts, and starts again only from a checkpoint that carries
its own signature and is no older than that memory.

`KeySigner` holds the key in this process: for commands, and for the parent of the HTTP process.
`RemoteSigner` speaks to one that runs elsewhere (`serve_signer`, signer_process.py).
"""

import fcntl
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from pratique.errors import FormatError, LedgerNotIntact, StorageError, UnreadableInput
from pratique.ledger.merkle import EMPTY_ROOT, HASH_BYTES, Frontier
from pratique.ledger.note import Checkpoint, LogKey, parse_checkpoint, sign_note

MAX_LEAVES: Final = 65_536
"""Most leaf hashes in one `extend`: 2 MiB."""
_MAX_KEY_BYTES: Final = 16_384


class Signer(Protocol):
    """The seam to whoever holds the log's key. All calls come from one thread at a time."""

    @property
    def key(self) -> LogKey:
        """The public half, and the log's name."""

    def resume(self, note: bytes | None, peaks: Sequence[bytes]) -> None:
        """Start from the checkpoint `note` (None: an empty log), whose tree has these peaks.

        Raises VerificationRefused unless the signer itself signed the note, LedgerNotIntact unless
        the peaks are of its tree. Whether it signed anything later is checked by `extend`.
        """

    def extend(self, leaves: Sequence[bytes]) -> bytes:
        """Append leaf hashes to the signer's tree and return the signed checkpoint of its head.

        Raises LedgerNotIntact, signing nothing, unless the head it signed last lies on the way.
        """


class KeySigner:
    """Holds the key. `memory` is the file that outlives it: the last head signed, as a note text."""

    def __init__(self, private: Ed25519PrivateKey, memory: Path | None = None) -> None:
        public = private.public_key().public_bytes_raw()
        self._private = private
        self._memory = memory
        self._key = LogKey(log_name(public), public)
        self._tree = Frontier()

    @property
    def key(self) -> LogKey:
        """The public half, and the log's name."""
        return self._key

    def resume(self, note: bytes | None, peaks: Sequence[bytes]) -> None:
        """See `Signer.resume`."""
        head = None if note is None else self._key.open(note)
        try:
            tree = Frontier(0 if head is None else head.size, list(peaks))
        except ValueError as error:
            raise LedgerNotIntact("the log's tree does not fit its last checkpoint") from error
        if head is not None and tree.root() != head.root:
            raise LedgerNotIntact("the log's tree does not fit its last checkpoint")
        self._tree = tree

    def extend(self, leaves: Sequence[bytes]) -> bytes:
        """See `Signer.extend`."""
        if len(leaves) > MAX_LEAVES or any(len(leaf) != HASH_BYTES for leaf in leaves):
            raise FormatError("not a batch of leaf hashes")
        tree = self._tree.copy()
        with _Memory(self._memory) as memory:
            last = memory.read() or Checkpoint(self._key.name, 0, EMPTY_ROOT)
            # Another process of this log may have signed since: that head must lie on our way.
            met = last.size < tree.size or (last.size == tree.size and last.root == tree.root())
            for leaf in leaves:
                tree.append(leaf)
                if tree.size == last.size:
                    met = tree.root() == last.root
            if not met:
                raise _forked(last, tree)
            head = Checkpoint(self._key.name, tree.size, tree.root())
            memory.write(head)
        self._tree = tree
        return sign_note(head.text(), self._key.name, self._private)


def _forked(last: Checkpoint, tree: Frontier) -> LedgerNotIntact:
    if last.size > tree.size:
        return LedgerNotIntact(
            f"the log was cut: its key has signed {last.size} events, {tree.size} are left",
            hint="put the missing segments back, or keep the log as evidence and start another",
        )
    return LedgerNotIntact(
        f"the log is not what its key signed: the first {last.size} events are others",
        hint="run `pratique log verify` against a checkpoint kept elsewhere",
    )


def log_name(public: bytes) -> str:
    """Name a log after its key: no two logs share a name."""
    return f"pratique/ledger/{hashlib.sha256(public).hexdigest()[:16]}"


class _Memory:
    """The last head signed, under a lock while it is read and replaced. Without a path: nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = -1

    def __enter__(self) -> "_Memory":
        if self._path is not None:
            try:
                self._lock = os.open(
                    self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
                )
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            except OSError as error:
                raise StorageError(
                    f"the signer's memory cannot be used: {error.strerror}"
                ) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def read(self) -> Checkpoint | None:
        if self._path is None:
            return None
        try:
            return parse_checkpoint(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, FormatError) as error:
            raise StorageError(f"the signer's memory cannot be read: {self._path}") from error

    def write(self, head: Checkpoint) -> None:
        if self._path is None:
            return
        fresh = self._path.with_suffix(".new")
        try:
            with fresh.open("w", encoding="utf-8") as file:
                file.write(head.text())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise StorageError(
                f"the signer's memory cannot be written: {error.strerror}"
            ) from error


def last_signed(path: Path) -> Checkpoint | None:
    """Return the last head that the key at `path` signed, as its signer remembers it, or None.

    It bears no signature: a reader may hold it against the log, never for it.
    """
    return _Memory(path.with_suffix(".last")).read()


def key_signer(path: Path) -> KeySigner:
    """Read the key at `path` (PKCS#8 PEM, Ed25519); make it, mode 0600, where there is none.

    The signer's memory is kept beside it, with the suffix `.last`.
    """
    memory = path.with_suffix(".last")
    try:
        if not path.exists():
            if memory.exists():
                raise LedgerNotIntact(
                    f"the ledger's key is gone: {path}",
                    hint="put it back; a new key starts another log and cannot continue this one",
                )
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_key(path)
        data = path.read_bytes()[: _MAX_KEY_BYTES + 1]
    except OSError as error:
        raise StorageError(f"the ledger's key cannot be read: {error.strerror}: {path}") from error
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnreadableInput(f"not an unencrypted private key: {path}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise UnreadableInput(
            f"the ledger's key is not Ed25519: {path}",
            hint="checkpoints are signed with Ed25519 (C2SP signed-note)",
        )
    return KeySigner(private, memory)


def _write_key(path: Path) -> None:
    """Write a new key; if another process was faster, its key stands."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            return
    finally:
        fresh.unlink()
