"""A change and its event on the ledger: both or neither, wherever the process dies.

1. the journal is locked; what a killed command left is settled first
2. an intent is flushed to the disk: the events, and by what one will see that each change was made
3. the change
4. the events of what was made, on the disk; then the intent goes

A killed command leaves its intent. Whoever opens the home next looks at what each event is about and
writes those that happened, once: an event bears an id of its own, which is looked for first. No
event is written of what did not happen.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, get_args
from urllib.parse import quote, unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pratique.core.ids import Digest
from pratique.errors import PratiqueError, StorageError, VerificationRefused
from pratique.ledger import Ledger
from pratique.ledger.events import (
    Admission,
    AliasMoved,
    Approval,
    Revocation,
    Sealed,
    TrustChanged,
    fields_of,
)
from pratique.ledger.events import Line as EventLine
from pratique.ledger.folder import Folder
from pratique.ledger.record import Chain
from pratique.ledger.verify import records
from pratique.store import disk

_STRICT: Final = ConfigDict(extra="forbid", frozen=True, strict=True)
_MODE: Final = 0o600
# What lies on a medium may have become anything meanwhile: it is not waited for, nor followed.
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_MARKED: Final = 256 * 2**20
"""Signatures, records and names are far smaller."""

Changed = Sealed | Approval | Admission | AliasMoved | Revocation | TrustChanged
"""Events of changes: those that bear the id of an intent."""
_KINDS: Final[Mapping[str, Callable[..., Changed]]] = MappingProxyType(
    {event.kind: event for event in get_args(Changed)}
)


class FileMark(BaseModel):
    """The change was made when `path` holds the bytes of this SHA-256; None: when it is gone.

    `medium` is a folder outside the home without which nobody can tell. Both are as `_text` has them.
    """

    model_config = _STRICT

    mark: Literal["file"] = "file"
    path: str
    sha256: str | None
    medium: str | None = None

    def seen(self, home: Path) -> bool | None:
        """Whether it is so. None: the medium is not there, so nobody can tell now."""
        del home
        if self.medium is not None and not os.path.isdir(_path(self.medium)):  # noqa: PTH112 - never raises
            return None
        try:
            found = _digest_at(_path(self.path))
        except OSError as error:
            if self.medium is not None:
                return None  # whoever holds the medium must not stop this home
            raise StorageError(f"{_path(self.path)} cannot be read: {error.strerror}") from error
        return found == self.sha256


class TrustMark(BaseModel):
    """The change was made when this set is the installed one, and the emergency list this long."""

    model_config = _STRICT

    mark: Literal["trust"] = "trust"
    current: str
    emergencies: int = Field(ge=0)

    def seen(self, home: Path) -> bool | None:
        """Whether it is so."""
        from pratique.attest.home import load_state, trust_dir  # noqa: PLC0415  # `vet` needs it not

        try:
            state = load_state(trust_dir(home))
        except VerificationRefused:
            return None
        if state is None:
            return False
        return (state.current, len(state.emergency) >= self.emergencies) == (self.current, True)


Mark = FileMark | TrustMark


@dataclass(frozen=True, slots=True)
class Change:
    """An event, and by what one sees that it is true."""

    event: Changed
    mark: Mark


class _Intended(BaseModel):
    model_config = _STRICT

    kind: Literal["sealed", "approval", "admission", "alias_moved", "revocation", "trust_changed"]
    fields: dict[str, str | int | bool]
    mark: Mark = Field(discriminator="mark")
    already: bool
    """It looked like that before: then nothing shows that it was done again."""

    def event(self) -> Changed:
        """The event; its fields are checked when it is written."""
        return _KINDS[self.kind](**self.fields)


class _Intent(BaseModel):
    model_config = _STRICT

    schema_: Literal["pratique.intent/v1"] = Field(alias="schema")
    size: int = Field(ge=0)
    """How long the ledger was: the events, if any, come later."""
    intended: tuple[_Intended, ...]


@dataclass(frozen=True, slots=True)
class Journal:
    """The intents of one home. Make one for an open ledger."""

    home: Path
    ledger: Ledger

    @contextlib.contextmanager
    def change(self, changes: Sequence[Change]) -> Iterator[None]:
        """Make changes inside; guarantees that those which were made, and no others, are recorded.

        Raises StorageError before anything is done if it could not be recorded.
        """
        with _locked(self.home):
            self._settle()
            path, intent = self._intend(changes)
            try:
                yield
            except BaseException:
                with contextlib.suppress(PratiqueError, OSError):  # then it is settled later
                    self._settle_one(path, intent)  # a part of it may have been done
                raise
            self.ledger.append_batch([item.event() for item in intent.intended])
            _forget(path)

    def settle(self) -> int:
        """Record what killed commands did; return how many intents are gone."""
        if not any(_intents(self.home)):
            return 0
        with _locked(self.home):
            return self._settle()

    def _settle(self) -> int:
        return sum(self._settle_one(path, _read(path)) for path in list(_intents(self.home)))

    def _settle_one(self, path: Path, intent: _Intent) -> bool:
        """Record what was done of one intent. Keeps it, and returns False, while nobody can tell."""
        seen = [(item, item.mark.seen(self.home)) for item in intent.intended]
        done = [item.event() for item, is_so in seen if is_so and not item.already]
        if done:
            known = self._operations(intent.size)
            self.ledger.append_batch([event for event in done if event.operation not in known])
        if any(is_so is None for _, is_so in seen):
            return False
        _forget(path)
        return True

    def _intend(self, changes: Sequence[Change]) -> tuple[Path, _Intent]:
        intended = []
        for change in changes:
            event = replace(change.event, operation=EventLine(secrets.token_hex(8)))
            intended.append(
                _Intended(
                    kind=event.kind,
                    fields=fields_of(event),
                    mark=change.mark,
                    already=change.mark.seen(self.home) is True,
                )
            )
        intent = _Intent(
            schema="pratique.intent/v1", size=self.ledger.size, intended=tuple(intended)
        )
        path = _folder(self.home) / f"{secrets.token_hex(8)}.json"
        with disk.storing("what is about to be done"):
            disk.replace_file(path, intent.model_dump_json(by_alias=True).encode(), _MODE)
        return path, intent

    def _operations(self, first: int) -> set[str]:
        folder = Folder(self.home / "ledger")
        key = folder.key()
        found = records(folder, Chain(key.name, key.key_id.hex()), first=first)
        return {str(record.fields.get("operation")) for record in found}


def unsettled(home: Path) -> bool:
    """Whether a command was killed, or is at work, between a change and its event."""
    return any(_intents(home))


def file_holds(path: Path, sha256: Digest, *, medium: Path | None = None) -> FileMark:
    """The mark of a file that is about to be written."""
    where = None if medium is None else _text(medium)
    return FileMark(path=_text(path), sha256=sha256, medium=where)


def file_gone(path: Path) -> FileMark:
    """The mark of a file that is about to be removed."""
    return FileMark(path=_text(path), sha256=None)


def _text(path: Path) -> str:
    """An absolute path as JSON can hold it: percent-encoded, `/` too, where its bytes are no UTF-8."""
    raw = os.fsencode(path.absolute())
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return quote(raw, safe="")


def _path(text: str) -> Path:
    return Path(text if text.startswith("/") else os.fsdecode(unquote_to_bytes(text)))


def _digest_at(path: Path) -> str | None:
    """SHA-256 of what lies at `path`; None: nothing does; "": nothing that we could have written."""
    try:
        descriptor = os.open(path, _OPEN)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link, a socket
            return ""
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_MARKED:
            return ""
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    finally:
        os.close(descriptor)


def _folder(home: Path) -> Path:
    return home / "ledger" / "intents"


def _intents(home: Path) -> Iterator[Path]:
    yield from sorted(_folder(home).glob("[!.]*.json"))


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        with disk.storing("the journal"):
            _folder(home).mkdir(mode=0o700, exist_ok=True)
            held.enter_context(disk.opened_lock(_folder(home)))
        yield


def _read(path: Path) -> _Intent:
    try:
        intent = _Intent.model_validate_json(path.read_bytes())
        for item in intent.intended:
            fields_of(item.event())
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValidationError, TypeError) as error:
        raise StorageError(
            f"{path}, what a killed command was about to do, is damaged",
            hint="compare `pratique list` with `pratique log show`, then move the file away",
        ) from error
    return intent


def _forget(path: Path) -> None:
    with disk.storing("the journal"):
        path.unlink(missing_ok=True)
        disk.flush_folder(path.parent)
