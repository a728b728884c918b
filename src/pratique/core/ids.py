"""Names of things. Each has one parser; nothing else turns a foreign string into an id.

A value of these types has been checked for its form only: a `CommitSha` is forty hex digits, not a
commit that exists.
"""

import re
import unicodedata
from typing import Final, NewType

from pratique.errors import FormatError

Digest = NewType("Digest", str)
"""SHA-256, 64 lower-case hex digits."""
GitId = NewType("GitId", str)
"""SHA-1 id of a git object, 40 lower-case hex digits. A link upstream, never a root of trust."""
CommitSha = NewType("CommitSha", str)
"""A git commit id, 40 lower-case hex digits."""
RepoId = NewType("RepoId", str)
"""`org/name` or `name`, as the Hub spells it."""
RelPath = NewType("RelPath", str)
"""A portable relative path: forward slashes, NFC, no `..`, no reserved or hidden-meaning names."""
BundleId = NewType("BundleId", str)
"""SHA-256 of `payload/SHA256SUMS`, 64 lower-case hex digits: names the content *and* its paths."""

MAX_PATH_BYTES: Final = 1024
MAX_NAME_BYTES: Final = 255
MAX_DEPTH: Final = 32

_HEX40: Final = re.compile(r"[0-9a-f]{40}\Z")
_HEX64: Final = re.compile(r"[0-9a-f]{64}\Z")
_REPO_PART: Final = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(?<![.-])\Z")
_ALIAS: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}\Z")
_WINDOWS_RESERVED: Final = re.compile(
    r"(?i)(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?\Z"
)
_FORBIDDEN_CHARS: Final = frozenset('<>:"|?*\\')
# Categories that make a name lie to its reader: controls, formats (bidi, zero width), surrogates,
# private use, unassigned, line and paragraph separators.
_FORBIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def parse_digest(text: str) -> Digest:
    """Return `text` as a SHA-256 digest. Raises FormatError unless it is 64 lower-case hex digits."""
    if not _HEX64.match(text):
        raise FormatError(f"not a SHA-256 digest: {shown(text)}")
    return Digest(text)


def parse_git_id(text: str) -> GitId:
    """Return `text` as a git object id. Raises FormatError unless it is 40 lower-case hex digits."""
    if not _HEX40.match(text):
        raise FormatError(f"not a git object id: {shown(text)}")
    return GitId(text)


def parse_commit(text: str) -> CommitSha:
    """Return `text` as a commit id. Raises FormatError unless it is 40 lower-case hex digits."""
    return CommitSha(parse_git_id(text))


def parse_bundle_id(text: str) -> BundleId:
    """Return `text` as a bundle id. Raises FormatError unless it is 64 lower-case hex digits."""
    return BundleId(parse_digest(text))


def parse_repo_id(text: str) -> RepoId:
    """Return `text` as a Hub repository id. Raises FormatError for anything the Hub cannot hold."""
    parts = text.split("/")
    if len(parts) > 2 or len(text) > 96 or not all(_REPO_PART.match(p) for p in parts):
        raise FormatError(
            f"not a repository id: {shown(text)}", hint="write it as ORG/NAME, as the Hub shows it"
        )
    return RepoId(text)


def parse_alias(text: str) -> str:
    """Return `text` as a NAME for an admitted bundle. Raises FormatError for odd characters."""
    if not _ALIAS.match(text):
        raise FormatError(f"not a name: {shown(text)}", hint="use letters, digits, '.', '_', '-'")
    return text


def path_problem(text: str) -> str | None:
    """Say what makes `text` unusable as a portable relative path, or None.

    Refuses what some file system or reader would take for something else: absolute and parent
    paths, backslashes, Windows device names, trailing dots and spaces, control, bidi, zero-width,
    private and unassigned characters, names not in NFC (Unicode TR 36, section 3), overlong names.
    Collisions between two names are for the caller: see `fold_path`.
    """
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if not text or text.startswith("/") or text.endswith("/"):
        return "is empty, absolute or ends in a slash"
    if len(raw) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    parts = text.split("/")
    if len(parts) > MAX_DEPTH:
        return f"is nested deeper than {MAX_DEPTH} folders"
    if not unicodedata.is_normalized("NFC", text):
        return "is not in Unicode normal form C"
    for part in parts:
        if (problem := _part_problem(part)) is not None:
            return problem
    return None


def _part_problem(part: str) -> str | None:
    if part in {"", ".", ".."}:
        return "has an empty, '.' or '..' part"
    if len(part.encode("utf-8")) > MAX_NAME_BYTES:
        return f"has a part longer than {MAX_NAME_BYTES} bytes"
    if part[-1] in ". " or part[0] == " ":
        return "has a part that begins with a space or ends in a dot or space"
    if _WINDOWS_RESERVED.match(part):
        return "has a part that is a reserved device name"
    for char in part:
        if char in _FORBIDDEN_CHARS:
            return f"has the character {char!r}"
        if unicodedata.category(char) in _FORBIDDEN_CATEGORIES:
            return f"has the hidden or control character U+{ord(char):04X}"
    return None


def parse_relpath(text: str) -> RelPath:
    """Return `text` as a portable relative path. Raises FormatError with the reason."""
    if (problem := path_problem(text)) is not None:
        raise FormatError(f"file name {shown(text)} {problem}")
    return RelPath(text)


def fold_path(path: str) -> str:
    """Map names that some file system would confuse (case, Unicode form) to one key."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def shown(text: str, limit: int = 80) -> str:
    """Quote foreign text for a message: escaped, one line, at most `limit` characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return ascii(cut).replace("\\u2026", "…") if not cut.isprintable() else repr(cut)
