"""Git objects as bytes: ids, commits, trees, LFS pointers. Strict; nothing here touches a disk or a net.

The rule: an object is what its id says, or it is refused. A caller gets values only from bytes whose
SHA-1 was recomputed (`GitObjects.of`), in the form git itself writes; other spellings are refused.

SHA-1 is only the link upstream. What pratique signs is the SHA-256 of every byte.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from pratique.core.candidate import EntryKind
from pratique.core.ids import CommitSha, Digest, GitId, parse_digest, parse_git_id, shown
from pratique.errors import FormatError

ObjectKind = Literal["commit", "tree", "blob", "tag"]

MAX_COMMIT_BYTES: Final = 1 << 20
MAX_TREE_BYTES: Final = 64 << 20
MAX_TREE_ENTRIES: Final = 1_000_000
MAX_TREE_DEPTH: Final = 32
MAX_POINTER_BYTES: Final = 1024  # the LFS specification says: less than 1024 bytes
MAX_FILE_BYTES: Final = 1 << 50

_MODES: Final[Mapping[bytes, tuple[EntryKind, bool]]] = MappingProxyType(
    {
        b"100644": (EntryKind.FILE, False),
        b"100755": (EntryKind.FILE, True),
        b"120000": (EntryKind.LINK, False),
        b"40000": (EntryKind.FOLDER, False),
        b"160000": (EntryKind.SUBMODULE, False),
    }
)
_PERSON: Final = re.compile(rb"([^<>\n\0]*?) ?<([^<>\n\0]*)> (\d{1,12}) ([+-]\d{4})\Z")
_HEADER_NAME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9:_-]{0,63}\Z")
_POINTER_VERSION: Final = b"https://git-lfs.github.com/spec/v1"
_POINTER_KEY: Final = re.compile(r"[a-z0-9.-]+\Z")
# Names under which a checkout would write into git's own directory (git's fsck: hasDotgit, and the
# NTFS short name): CVE-2014-9390, CVE-2019-1352.
_DOTGIT: Final = re.compile(r"(?i)(?:\.git|git~[0-9]+)[. ]*\Z")


def object_id(kind: ObjectKind, body: bytes) -> GitId:
    """Return git's id of an object: SHA-1 over `KIND SIZE NUL BODY`."""
    digest = blob_hasher(len(body)) if kind == "blob" else _hasher(kind, len(body))
    digest.update(body)
    return GitId(digest.hexdigest())


def blob_hasher(size: int) -> "hashlib._Hash":
    """Return a SHA-1 that, fed with the `size` bytes of a file, ends as the id of its blob."""
    return _hasher("blob", size)


def _hasher(kind: str, size: int) -> "hashlib._Hash":
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(f"{kind} {size}\0".encode())
    return digest


@dataclass(frozen=True, slots=True)
class Person:
    """Author or committer as written in the commit. `when` is seconds since 1970, `zone` `+hhmm`."""

    name: str
    email: str
    when: int
    zone: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A parsed commit. `signed` is what a signature in it covers (the commit without it)."""

    tree: GitId
    parents: tuple[GitId, ...]
    author: Person
    committer: Person
    message: str
    signature: bytes | None
    signed: bytes


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One name in one tree."""

    name: str
    kind: EntryKind
    executable: bool
    id: GitId


@dataclass(frozen=True, slots=True)
class LfsPointer:
    """What a Git LFS pointer file says of the real file."""

    sha256: Digest
    size: int

    @property
    def canonical(self) -> bytes:
        """The pointer as git-lfs writes it (docs/spec.md of git-lfs, version 1)."""
        return b"version %s\noid sha256:%s\nsize %d\n" % (
            _POINTER_VERSION,
            self.sha256.encode(),
            self.size,
        )

    @property
    def blob_id(self) -> GitId:
        """The git id of the canonical pointer."""
        return object_id("blob", self.canonical)


def parse_commit_object(body: bytes) -> Commit:
    """Parse a commit's body. Raises FormatError unless it has the headers git writes, in order."""
    if len(body) > MAX_COMMIT_BYTES:
        raise FormatError(f"git commit is larger than {MAX_COMMIT_BYTES} bytes")
    head, blank, message = body.partition(b"\n\n")
    if not blank or b"\0" in head:
        raise FormatError("git commit has no message part, or a NUL in its headers")
    headers = list(_headers(head))
    names = [name for name, _, _ in headers]
    parents = sum(1 for name in names if name == b"parent")
    if names[: parents + 3] != [b"tree", *[b"parent"] * parents, b"author", b"committer"]:
        raise FormatError("git commit does not begin with tree, parents, author, committer")
    if any(names.count(n) > 1 for n in (b"tree", b"author", b"committer", b"gpgsig")):
        raise FormatError("git commit has a header twice")
    values = {name: value for name, value, _ in headers}
    kept = [raw for name, _, raw in headers if name not in {b"gpgsig", b"gpgsig-sha256"}]
    return Commit(
        tree=_ascii_id(values[b"tree"]),
        parents=tuple(_ascii_id(v) for n, v, _ in headers if n == b"parent"),
        author=_person(values[b"author"]),
        committer=_person(values[b"committer"]),
        message=message.decode("utf-8", "replace"),
        signature=values.get(b"gpgsig"),
        signed=b"\n".join(kept) + b"\n\n" + message,
    )


def _headers(head: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield (name, value with continuation lines joined, raw lines)."""
    lines = head.split(b"\n")
    index = 0
    while index < len(lines):
        start = index
        name, space, value = lines[index].partition(b" ")
        if not space or not _HEADER_NAME.match(name):
            raise FormatError(f"git commit has a malformed header: {_show(lines[index])}")
        parts = [value]
        index += 1
        while index < len(lines) and lines[index].startswith(b" "):
            parts.append(lines[index][1:])
            index += 1
        yield name, b"\n".join(parts), b"\n".join(lines[start:index])


def _ascii_id(raw: bytes) -> GitId:
    try:
        return parse_git_id(raw.decode("ascii"))
    except UnicodeDecodeError as error:
        raise FormatError(f"not a git object id: {_show(raw)}") from error


def _person(raw: bytes) -> Person:
    if not (match := _PERSON.match(raw)):
        raise FormatError(f"git commit has a malformed author or committer: {_show(raw)}")
    name, email, when, zone = (part.decode("utf-8", "replace") for part in match.groups())
    return Person(name=name, email=email, when=int(when), zone=zone)


def parse_tree(body: bytes) -> tuple[TreeEntry, ...]:
    """Parse a tree's body.

    Raises FormatError for unknown modes, names that are not UTF-8 or that a checkout would write
    into `.git`, duplicates, and entries not in git's order. Portability of names is for the gate.
    """
    if len(body) > MAX_TREE_BYTES:
        raise FormatError(f"git tree is larger than {MAX_TREE_BYTES} bytes")
    entries: list[TreeEntry] = []
    previous = b""
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 8)
        nul = body.find(b"\0", space)
        if space < 0 or nul < 0 or nul + 21 > len(body):
            raise FormatError("git tree is cut short or malformed")
        mode, raw = body[position:space], body[space + 1 : nul]
        entry = _tree_entry(mode, raw, body[nul + 1 : nul + 21])
        key = raw + (b"/" if entry.kind is EntryKind.FOLDER else b"")
        if key <= previous:
            raise FormatError(f"git tree is not in order at {shown(entry.name)}")
        previous = key
        entries.append(entry)
        position = nul + 21
    if len({e.name for e in entries}) != len(entries):
        raise FormatError("git tree has the same name for a file and a folder")
    return tuple(entries)


def _tree_entry(mode: bytes, raw: bytes, sha: bytes) -> TreeEntry:
    if mode not in _MODES:
        raise FormatError(f"git tree has the unknown mode {_show(mode)}")
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"git tree has a name that is not UTF-8: {_show(raw)}") from error
    if not name or name in {".", ".."} or "/" in name or _DOTGIT.match(name):
        raise FormatError(f"git tree has the forbidden name {shown(name)}")
    kind, executable = _MODES[mode]
    return TreeEntry(name=name, kind=kind, executable=executable, id=GitId(sha.hex()))


def parse_lfs_pointer(body: bytes) -> LfsPointer:
    """Parse a pointer, canonical or with extension keys. Raises FormatError for anything else.

    The specification: UTF-8, less than 1024 bytes, `version` first, then keys in order, each line
    `KEY VALUE` with one space. The ends of the lines are LF; a missing last one and CR are not
    canonical but exist in hand-pushed repositories, and are taken.
    """
    if len(body) >= MAX_POINTER_BYTES:
        raise FormatError("git LFS pointer is 1024 bytes or longer")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("git LFS pointer is not UTF-8") from error
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    pairs = [line.partition(" ") for line in lines]
    keys = [key for key, _, _ in pairs]
    if keys[:1] != ["version"] or any(not v or not _POINTER_KEY.match(k) for k, _, v in pairs):
        raise FormatError(f"not a git LFS pointer: {shown(text)}")
    if keys[1:] != sorted(set(keys[1:])):
        raise FormatError("git LFS pointer has keys twice or out of order")
    values = {key: value for key, _, value in pairs}
    method, _, digest = values.get("oid", "").partition(":")
    size = values.get("size", "")
    if values["version"].encode() != _POINTER_VERSION or method != "sha256":
        raise FormatError("git LFS pointer has another version or digest than version 1, sha256")
    if not re.fullmatch(r"0|[1-9][0-9]{0,15}", size, re.ASCII) or int(size) > MAX_FILE_BYTES:
        raise FormatError(f"git LFS pointer has a malformed size: {shown(size)}")
    return LfsPointer(sha256=parse_digest(digest), size=int(size))


@dataclass(frozen=True, slots=True)
class GitObjects:
    """Objects by id; each id was recomputed from the bytes. Made by `of` alone."""

    bodies: Mapping[GitId, tuple[ObjectKind, bytes]]

    @classmethod
    def of(cls, objects: Iterable[tuple[ObjectKind, bytes]]) -> "GitObjects":
        """Compute every id."""
        found = {object_id(kind, body): (kind, body) for kind, body in objects}
        return cls(MappingProxyType(found))

    def body(self, oid: GitId, kind: ObjectKind) -> bytes:
        """Return the bytes of `oid`. Raises FormatError when absent or of another kind."""
        have = self.bodies.get(oid)
        if have is None:
            raise FormatError(f"git {kind} {oid} is not among the objects")
        if have[0] != kind:
            raise FormatError(f"git object {oid} is a {have[0]}, not a {kind}")
        return have[1]


@dataclass(frozen=True, slots=True)
class PathEntry:
    """One path of a commit. `path` is foreign text; its parts are free of `/` and `..`."""

    path: str
    kind: EntryKind
    executable: bool
    id: GitId


def walk_commit(objects: GitObjects, commit: CommitSha) -> tuple[Commit, tuple[PathEntry, ...]]:
    """Return the commit and every path below its tree, folders left out, in tree order.

    Every id on the way was recomputed. Raises FormatError when a tree is missing or malformed, and
    on more entries or levels than the limits (a tree that shares subtrees can be exponential).
    """
    parsed = parse_commit_object(objects.body(GitId(commit), "commit"))
    paths: list[PathEntry] = []
    stack: list[tuple[str, GitId, int]] = [("", parsed.tree, 0)]
    seen_trees = 0
    while stack:
        prefix, tree, depth = stack.pop()
        seen_trees += 1
        if depth > MAX_TREE_DEPTH or seen_trees > MAX_TREE_ENTRIES:
            raise FormatError(
                f"git tree is nested deeper than {MAX_TREE_DEPTH} folders, or too big"
            )
        for entry in parse_tree(objects.body(tree, "tree")):
            path = prefix + entry.name
            if entry.kind is EntryKind.FOLDER:
                stack.append((path + "/", entry.id, depth + 1))
            else:
                paths.append(PathEntry(path, entry.kind, entry.executable, entry.id))
        if len(paths) > MAX_TREE_ENTRIES:
            raise FormatError(f"git tree lists more than {MAX_TREE_ENTRIES} files")
    return parsed, tuple(sorted(paths, key=lambda p: p.path.encode()))


def is_git_material(path: str) -> bool:
    """Whether `path` is for git and its hosts (`.gitattributes`, `.github/…`), never for the model."""
    return any(part.casefold().startswith(".git") for part in path.split("/"))


def _show(raw: bytes) -> str:
    return shown(raw[:80].decode("latin-1"))
