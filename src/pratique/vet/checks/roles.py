"""Default deny: a file has a known role and its content is what the role says, or it is refused.

Roles whose content other checks parse (weights, configuration, templates, tokenizers, …) are left to
those; every remaining role has its strict parser here.
"""

from collections.abc import Callable, Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import images, text, tfrecord
from pratique.vet.check import Check, note, refuse
from pratique.vet.repo import MIB, Entry, NotHere, Repo
from pratique.vet.roles import Role

_MAX_TEXT: Final = 256 * MIB
_MAX_IMAGE: Final = 64 * MIB
_TEXT: Final = frozenset(
    {Role.CARD, Role.LICENCE, Role.CODE, Role.SCRIPT, Role.CHECKSUMS, Role.GIT, Role.CHAT_TEMPLATE}
)
_BINARY_DOCUMENTS: Final = {".pdf": (b"%PDF-", b"%%EOF")}
_TABLES: Final = {".parquet": (b"PAR1", b"PAR1"), ".arrow": (b"ARROW1", b"ARROW1")}
_MEDIA: Final = (
    b"RIFF",
    b"ID3",
    b"fLaC",
    b"OggS",
    b"\x1a\x45\xdf\xa3",
    b"\xff\xfb",
    b"\xff\xf3",
    b"\xff\xf2",
    b"\xff\xf1",
    b"\xff\xf9",
)
_UNLOADED: Final = {
    Role.DOCUMENT: "documentation",
    Role.IMAGE: "a picture",
    Role.MEDIA: "sound or film",
    Role.CODE: "code that no configuration names",
    Role.SCRIPT: "a script that nothing loads",
    Role.NOTEBOOK: "a notebook",
    Role.DATA: "data that no loader reads",
    Role.EVENTS: "a TensorBoard log",
    Role.CACHE: "a download record",
    Role.CHECKSUMS: "a list of checksums",
}


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.files:
        if entry.role is Role.UNKNOWN and not repo.here(entry.path):
            if repo.stage >= Stage.CONTENT or not _could_be_text(entry):
                yield _unknown(entry, "has no known role")
            continue
        if not repo.here(entry.path):
            continue
        try:
            _check(repo, entry)
        except NotHere:
            continue
        except FormatError as error:
            if entry.role is Role.UNKNOWN:
                yield _unknown(entry, f"has no known role and {error}")
            else:
                yield refuse(
                    CHECK.id,
                    entry.path,
                    f"is not {_UNLOADED.get(entry.role, entry.role.value)} as its name says: {error}",
                    "replace it with a well-formed file, or remove it",
                )
            continue
        if entry.role in _UNLOADED or entry.role is Role.UNKNOWN:
            yield note(
                CHECK.id, entry.path, f"is {_UNLOADED.get(entry.role, 'text that nothing loads')}"
            )


def _unknown(entry: Entry, message: str) -> Finding:
    return refuse(
        CHECK.id,
        entry.path,
        message,
        "remove it: nothing that a model needs is carried under this name",
    )


def _could_be_text(entry: Entry) -> bool:
    """Before content is here: small nameless files may turn out to be text."""
    return entry.size <= MIB


def _check(repo: Repo, entry: Entry) -> None:
    if (check := _CHECKS.get(entry.role)) is not None:
        check(repo, entry)
    elif entry.role in _TEXT or entry.role is Role.UNKNOWN:
        _plain(repo, entry)
    elif entry.role is Role.TOKENIZER and not entry.name.lower().endswith(".json"):
        text.decode(repo.read(entry.path, _MAX_TEXT))


def _plain(repo: Repo, entry: Entry) -> None:
    decoded = text.decode(
        repo.read(entry.path, _MAX_TEXT if entry.role is not Role.UNKNOWN else 4 * MIB)
    )
    if (char := text.control_in(decoded)) is not None:
        raise FormatError(f"holds the control character {text.name_of(char)}")


def _document(repo: Repo, entry: Entry) -> None:
    suffix = entry.name[entry.name.rfind(".") :].lower()
    if suffix in _BINARY_DOCUMENTS:
        begin, end = _BINARY_DOCUMENTS[suffix]
        if not repo.head(entry.path, 16).startswith(begin) or end not in repo.tail(
            entry.path, 1024
        ):
            raise FormatError("has not the beginning and end of such a document")
    else:
        _plain(repo, entry)


def _data(repo: Repo, entry: Entry) -> None:
    suffix = entry.name[entry.name.rfind(".") :].lower()
    if suffix in _TABLES:
        begin, end = _TABLES[suffix]
        if not repo.head(entry.path, 16).startswith(begin) or not repo.tail(
            entry.path, 16
        ).endswith(end):
            raise FormatError("has not the beginning and end of such a table")
    else:
        text.decode(repo.read(entry.path, _MAX_TEXT))


def _image(repo: Repo, entry: Entry) -> None:
    images.check(entry.name, repo.read(entry.path, _MAX_IMAGE))


def _media(repo: Repo, entry: Entry) -> None:
    head = repo.head(entry.path, 16)
    if not head.startswith(_MEDIA) and head[4:8] != b"ftyp":
        raise FormatError("has not the beginning of any known kind")


def _notebook(repo: Repo, entry: Entry) -> None:
    document = repo.json(entry.path)
    if not isinstance(document, dict) or "cells" not in document:
        raise FormatError("has no cells")


def _events(repo: Repo, entry: Entry) -> None:
    with repo.open(entry.path) as file:
        tfrecord.check(file, entry.size)


def _cache(repo: Repo, entry: Entry) -> None:
    if entry.name.lower() == ".ds_store":
        if not repo.head(entry.path, 8).startswith(b"\0\0\0\1Bud1"):
            raise FormatError("is no folder view of macOS")
    else:
        text.decode(repo.read(entry.path, 16 * MIB))


_CHECKS: Final[dict[Role, Callable[[Repo, Entry], None]]] = {
    Role.DOCUMENT: _document,
    Role.DATA: _data,
    Role.IMAGE: _image,
    Role.MEDIA: _media,
    Role.NOTEBOOK: _notebook,
    Role.EVENTS: _events,
    Role.CACHE: _cache,
}

CHECK: Final = Check("roles", "A known role, and content to match", Stage.LISTING, _run)
