"""A small honest Hub on loopback: local directories as repositories with commits, LFS and git.

It speaks what huggingface_hub and git speak: model info, listing, `resolve` with Range, smart HTTP.
`LoopbackHub.respond` is a pure function of a request, so that a test can put a liar in front of it.
Never binds anything but 127.0.0.1; not for production (`pratique hub` is).
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

import yaml

from pratique.core.ids import CommitSha, Digest, GitId, parse_relpath, parse_repo_id
from pratique.flows import loopback_git
from pratique.flows.loopback_git import GitStore
from pratique.flows.loopback_http import FilePart, Reply, Request, serving
from pratique.formats.git import LfsPointer, ObjectKind, object_id
from pratique.store.tree import walk

__all__ = ["FilePart", "Hosted", "HostedFile", "LoopbackHub", "Reply", "Request", "serving"]

LFS_OVER: Final = 1 << 20
_LFS_SUFFIXES: Final = frozenset(
    {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".onnx", ".gguf", ".msgpack", ".pkl"}
)
_ATTRIBUTES: Final = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
_BLOCK: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)\Z", re.ASCII)
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class HostedFile:
    """One file at one commit. LFS content stays on disk, other content is in memory."""

    path: str
    size: int
    git_id: GitId
    content: bytes | None
    disk: Path | None = None
    sha256: Digest | None = None

    @property
    def etag(self) -> str:
        """As the Hub has it: the LFS digest, else git's id."""
        return self.sha256 or self.git_id


@dataclass(slots=True)
class Hosted:
    """One repository: its commits, newest last, and where names point."""

    repo: str
    objects: dict[GitId, tuple[ObjectKind, bytes]] = field(default_factory=dict)
    commits: dict[CommitSha, dict[str, HostedFile]] = field(default_factory=dict)
    refs: dict[str, GitId] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)

    def find(self, revision: str) -> CommitSha | None:
        """Resolve a branch, tag or commit."""
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if name in self.refs:
                return CommitSha(self.refs[name])
        return CommitSha(revision) if revision in self.commits else None


class LoopbackHub:
    """Repositories and the answers about them. `running` serves it."""

    def __init__(self) -> None:
        self.repos: dict[str, Hosted] = {}
        self.url = ""

    def add(
        self,
        repo: str,
        directory: Path,
        *,
        branch: str = "main",
        message: str = "Add model",
        author: str = "Hub <hub@localhost>",
        when: int = 1_700_000_000,
        facts: Mapping[str, object] | None = None,
        files: Mapping[str, bytes] | None = None,
        modes: Mapping[str, str] | None = None,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> CommitSha:
        """Commit the files below `directory` (and `files`) and return the commit's id.

        `facts` are added to what the API says (`gated`, `private`, …); `modes` are git's, where not
        100644; `sign` is given the commit and returns an armoured signature for it.
        """
        hosted = self.repos.setdefault(parse_repo_id(repo), Hosted(repo))
        hosted.facts.update(facts or {})
        tree: dict[str, HostedFile] = {}
        for path in walk(directory).files:
            _add(hosted, tree, path, directory / path)
        extra = {".gitattributes": _ATTRIBUTES} if ".gitattributes" not in tree else {}
        for name, content in {**extra, **(files or {})}.items():
            _add_bytes(hosted, tree, parse_relpath(name), content)
        mode = dict(modes or {})
        root = _write_trees(hosted, {p: (mode.get(p, "100644"), f.git_id) for p, f in tree.items()})
        parent = hosted.refs.get(f"refs/heads/{branch}")
        body = _commit_body(root, parent, author, when, message)
        if sign is not None:
            body = _with_signature(body, sign(body))
        commit = CommitSha(_store(hosted, "commit", body))
        hosted.commits[commit] = tree
        hosted.refs[f"refs/heads/{branch}"] = GitId(commit)
        return commit

    def tag(self, repo: str, name: str, commit: CommitSha) -> None:
        """Let a tag point at a commit."""
        self.repos[repo].refs[f"refs/tags/{name}"] = GitId(commit)

    def respond(self, request: Request) -> Reply:
        """Answer one request."""
        path = request.path
        if path.startswith("/api/models/"):
            return self._api(request, path.removeprefix("/api/models/"))
        for marker, answer in (
            ("/info/refs", self._advertise),
            ("/git-upload-pack", self._upload_pack),
        ):
            if path.endswith(marker):
                return answer(request, path.removesuffix(marker).strip("/").removesuffix(".git"))
        if "/resolve/" in path:
            repo, _, rest = path.strip("/").partition("/resolve/")
            return self._resolve(request, repo, rest)
        return _error(404, "EntryNotFound")

    def _api(self, request: Request, rest: str) -> Reply:
        repo, revision, what = _route(rest)
        hosted = self.repos.get(repo)
        if hosted is None:
            return _error(404, "RepoNotFound")
        commit = hosted.find(revision)
        if commit is None:
            return _error(404, "RevisionNotFound")
        if what == "info":
            return _json_reply(_info(hosted, commit))
        start = int(request.query.get("cursor", "0") or "0")
        rows = _tree_rows(hosted.commits[commit])
        headers: dict[str, str] = {}
        if start + _PAGE < len(rows):
            following = f"{self.url}{quote(request.path)}?recursive=true&cursor={start + _PAGE}"
            headers["Link"] = f'<{following}>; rel="next"'
        return _json_reply(rows[start : start + _PAGE], headers)

    def _advertise(self, request: Request, repo: str) -> Reply:
        if repo not in self.repos:
            return _error(404, "RepoNotFound")
        if "version=2" not in request.headers.get("git-protocol", ""):
            return Reply(400, {"Content-Type": "text/plain"}, b"protocol version 2 only\n")
        headers = {"Content-Type": loopback_git.ADVERTISEMENT, "Cache-Control": "no-cache"}
        return Reply(200, headers, loopback_git.advertise())

    def _upload_pack(self, request: Request, repo: str) -> Reply:
        if repo not in self.repos:
            return _error(404, "RepoNotFound")
        hosted = self.repos[repo]
        answer = loopback_git.upload_pack(GitStore(hosted.objects, hosted.refs), request.body)
        return Reply(200, {"Content-Type": loopback_git.RESULT}, answer)

    def _resolve(self, request: Request, repo: str, rest: str) -> Reply:
        hosted = self.repos.get(repo)
        if hosted is None:
            return _error(404, "RepoNotFound")
        revision, _, path = rest.partition("/")
        commit = hosted.find(unquote(revision))
        if commit is None:
            return _error(404, "RevisionNotFound")
        file = hosted.commits[commit].get(path)
        if file is None:
            return _error(404, "EntryNotFound", {"X-Repo-Commit": commit})
        return _content(request, commit, file)

    @contextlib.contextmanager
    def running(self, respond: Callable[[Request], Reply] | None = None) -> Iterator[str]:
        """Serve on a free loopback port; yields the endpoint's URL."""
        with serving(respond or self.respond) as url:
            self.url = url
            yield url


def _add(hosted: Hosted, tree: dict[str, HostedFile], path: str, disk: Path) -> None:
    size = disk.stat().st_size
    if size <= LFS_OVER and disk.suffix not in _LFS_SUFFIXES:
        _add_bytes(hosted, tree, path, disk.read_bytes())
        return
    digest = hashlib.sha256()
    with disk.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    pointer = LfsPointer(Digest(digest.hexdigest()), size)
    oid = _store(hosted, "blob", pointer.canonical)
    tree[path] = HostedFile(path, size, oid, None, disk, pointer.sha256)


def _add_bytes(hosted: Hosted, tree: dict[str, HostedFile], path: str, content: bytes) -> None:
    tree[path] = HostedFile(path, len(content), _store(hosted, "blob", content), content)


def _store(hosted: Hosted, kind: ObjectKind, body: bytes) -> GitId:
    oid = object_id(kind, body)
    hosted.objects[oid] = (kind, body)
    return oid


def _write_trees(hosted: Hosted, files: Mapping[str, tuple[str, GitId]]) -> GitId:
    """Store the trees for `files` (path → mode, id) and return the root's id."""
    entries: dict[str, tuple[str, GitId]] = {}
    folders: dict[str, dict[str, tuple[str, GitId]]] = {}
    for path, entry in files.items():
        name, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(name, {})[rest] = entry
        else:
            entries[name] = entry
    for name, inner in folders.items():
        entries[name] = ("40000", _write_trees(hosted, inner))
    ordered = sorted(entries, key=lambda n: n.encode() + (b"/" if n in folders else b""))
    body = b"".join(
        f"{entries[name][0]} {name}".encode() + b"\0" + bytes.fromhex(entries[name][1])
        for name in ordered
    )
    return _store(hosted, "tree", body)


def _commit_body(root: GitId, parent: GitId | None, author: str, when: int, message: str) -> bytes:
    parents = f"parent {parent}\n" if parent is not None else ""
    person = f"{author} {when} +0000"
    return f"tree {root}\n{parents}author {person}\ncommitter {person}\n\n{message}\n".encode()


def _with_signature(body: bytes, armoured: bytes) -> bytes:
    head, _, message = body.partition(b"\n\n")
    lines = armoured.rstrip(b"\n").replace(b"\n", b"\n ")
    return head + b"\ngpgsig " + lines + b"\n\n" + message


def _route(rest: str) -> tuple[str, str, str]:
    """Split an API path into (repository, revision, "info" or "tree")."""
    for marker, what in (("/tree/", "tree"), ("/revision/", "info")):
        repo, found, revision = rest.partition(marker)
        if found:
            return repo, unquote(revision.split("/")[0]), what
    return rest, "main", "info"


def _info(hosted: Hosted, commit: CommitSha) -> dict[str, object]:
    files = hosted.commits[commit]
    card = _card(files.get("README.md"))
    licence = card.get("license")
    tags = [f"license:{licence}"] if isinstance(licence, str) else []
    return {
        "id": hosted.repo,
        "modelId": hosted.repo,
        "sha": commit,
        "private": False,
        "gated": False,
        "disabled": False,
        "tags": tags,
        "cardData": card,
        "siblings": [{"rfilename": path} for path in sorted(files)],
        **hosted.facts,
    }


def _card(file: HostedFile | None) -> dict[str, Any]:
    """The front matter of a model card, as far as it is YAML."""
    text = (file.content or b"").decode("utf-8", "replace") if file is not None else ""
    if not text.startswith("---\n"):
        return {}
    try:
        value = yaml.safe_load(text[4:].partition("\n---")[0])
        return json.loads(json.dumps(value)) if isinstance(value, dict) else {}
    except (yaml.YAMLError, TypeError):
        return {}


def _tree_rows(files: Mapping[str, HostedFile]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for path, file in sorted(files.items()):
        row: dict[str, object] = {
            "type": "file", "oid": file.git_id, "size": file.size, "path": path,
        }  # fmt: skip
        if file.sha256 is not None:
            pointer = LfsPointer(file.sha256, file.size)
            row["lfs"] = {
                "oid": file.sha256,
                "size": file.size,
                "pointerSize": len(pointer.canonical),
            }
        rows.append(row)
    return rows


def _content(request: Request, commit: CommitSha, file: HostedFile) -> Reply:
    headers = {
        "X-Repo-Commit": commit,
        "ETag": f'"{file.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    if file.sha256 is not None:
        headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
    start, end = 0, file.size
    status = 200
    if match := _RANGE.match(request.headers.get("range", "")):
        start = int(match[1]) if match[1] else max(0, file.size - int(match[2] or 0))
        end = min(file.size, int(match[2]) + 1) if match[1] and match[2] else file.size
        if start >= end:
            return Reply(416, {**headers, "Content-Range": f"bytes */{file.size}"})
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    if file.disk is not None:
        return Reply(status, headers, FilePart(file.disk, start, end - start))
    return Reply(status, headers, (file.content or b"")[start:end])


def _json_reply(value: object, headers: Mapping[str, str] | None = None) -> Reply:
    body = json.dumps(value).encode()
    return Reply(200, {"Content-Type": "application/json", **(headers or {})}, body)


def _error(status: int, code: str, headers: Mapping[str, str] | None = None) -> Reply:
    body = json.dumps({"error": code}).encode()
    sent = {"X-Error-Code": code, "Content-Type": "application/json", **(headers or {})}
    return Reply(status, sent, body)
