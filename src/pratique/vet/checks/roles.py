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
from pratique.vet import onnx_data
from pratique.vet.check import Check, note, refuse
from pratique.vet.repo import MIB, Entry, NotHere, Repo
from pratique.vet.roles import Role

_MAX_TEXT: Final = 256 * MIB
_MAX_IMAGE: Final = 64 * MIB
_TEXT: Final = frozenset(
    {Role.CARD, Role.LICENCE, Role.CODE, Role.SCRIPT, Role.CHECKSUMS, Role.GIT, Role.CHAT_TEMPLATE}
)
_BINARY_DOCUMENTS: Final = {".pdf": b"%PDF-"}
_TABLES: Final = {".parquet": (b"PAR1",), ".arrow": (b"ARROW1", b"\xff\xff\xff\xff")}
# Settings of development tools; any other hidden name without a role is refused.
_HIDDEN: Final = frozenset(
    {
        ".editorconfig",
        ".flake8",
        ".pylintrc",
        ".coveragerc",
        ".prettierrc",
        ".eslintrc",
        ".python-version",
        ".nojekyll",
        ".mailmap",
        ".clang-format",
        ".isort.cfg",
        ".style.yapf",
        ".gitlab-ci",
        ".npmignore",
        ".hfignore",
        ".env.example",
    }
)
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
    Role.CODE: "code",
    Role.SCRIPT: "a script that nothing loads",
    Role.NOTEBOOK: "a notebook",
    Role.DATA: "data that no loader reads",
    Role.EVENTS: "a TensorBoard log",
    Role.RAW_ARRAY: "a raw array",
    Role.CACHE: "a download record",
    Role.CHECKSUMS: "a list of checksums",
}


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.files:
        if entry.role is Role.UNKNOWN and onnx_data.may_be_named(repo, entry.path):
            continue
        if entry.role is Role.UNKNOWN and _is_hidden(entry):
            yield _unknown(entry, "is a hidden file of no known role")
        elif repo.here(entry.path):
            yield from _content(repo, entry)
        elif entry.role is Role.UNKNOWN and not _could_be_text(entry):
            yield _unknown(entry, "has no known role")


def _content(repo: Repo, entry: Entry) -> Iterator[Finding]:
    try:
        _check(repo, entry)
    except NotHere:
        return
    except images.Damaged as error:
        yield note(CHECK.id, entry.path, f"{error}; nothing loads it")
    except FormatError as error:
        if entry.role is Role.UNKNOWN:
            yield _unknown(entry, f"has no known role and {error}")
            return
        yield refuse(
            CHECK.id,
            entry.path,
            f"is not {_UNLOADED.get(entry.role, entry.role.value)} as its name says: {error}",
            "replace it with a well-formed file, or remove it",
        )
    else:
        if entry.role in _UNLOADED or entry.role is Role.UNKNOWN:
            what = _UNLOADED.get(entry.role, "text that nothing loads")
            # Which code is reached is not this check's to know: those that follow references say so.
            also = "; another finding says so where a configuration reaches it"
            yield note(CHECK.id, entry.path, f"is {what}{also if entry.role is Role.CODE else ''}")


def _unknown(entry: Entry, message: str) -> Finding:
    return refuse(
        CHECK.id,
        entry.path,
        message,
        "remove it: nothing that a model needs is carried under this name",
    )


def _is_hidden(entry: Entry) -> bool:
    parts = entry.path.split("/")
    return any(p.startswith(".") and p not in {".github", ".eval_results"} for p in parts) and (
        entry.name.lower() not in _HIDDEN
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
        if not repo.head(entry.path, 16).startswith(_BINARY_DOCUMENTS[suffix]):
            raise FormatError("has not the beginning of such a document")
    else:
        _prose(repo, entry)


def _data(repo: Repo, entry: Entry) -> None:
    suffix = entry.name[entry.name.rfind(".") :].lower()
    if suffix in _TABLES:
        if not repo.head(entry.path, 16).startswith(_TABLES[suffix]):
            raise FormatError("has not the beginning of such a table")
    else:
        _prose(repo, entry)


def _prose(repo: Repo, entry: Entry) -> None:
    """Text that nothing loads may be in an old single-byte encoding; it holds no control characters."""
    data = repo.read(entry.path, _MAX_TEXT)
    try:
        text.decode(data)
    except FormatError:
        if (
            char := text.control_in(data.decode("latin-1").replace("\xa0", " "))
        ) is not None and char < "\x80":
            raise
        if b"\0" in data:
            raise


def _image(repo: Repo, entry: Entry) -> None:
    images.check(entry.name, repo.read(entry.path, _MAX_IMAGE))


def _media(repo: Repo, entry: Entry) -> None:
    head = repo.head(entry.path, 16)
    if not head.startswith(_MEDIA) and head[4:8] != b"ftyp":
        raise FormatError("has not the beginning of any known kind")


def _notebook(repo: Repo, entry: Entry) -> None:
    if not isinstance(repo.json(entry.path), dict):
        raise FormatError("is no object")


def _events(repo: Repo, entry: Entry) -> None:
    """A log that was cut off while it was written is ordinary; what it must not be, others look for."""
    try:
        with repo.open(entry.path) as file:
            tfrecord.check(file, entry.size)
    except FormatError as error:
        raise images.Damaged(f"is a TensorBoard log that {error}") from error


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
