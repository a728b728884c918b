"""Files are those that the source pinned: listing, download records, checksum lists, LFS pointers."""

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import path_problem
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import json_strict
from pratique.formats.json_strict import Json
from pratique.vet.check import Check, refuse
from pratique.vet.repo import MIB, Entry, Repo
from pratique.vet.roles import Role

_POINTER: Final = b"version https://git-lfs.github.com/spec/v1"
_SUM: Final = re.compile(r"\\?([0-9a-fA-F]{32,128}) [ *](.+)\Z")
_BSD_SUM: Final = re.compile(r"(SHA256|SHA512|SHA1|MD5) \((.+)\) = ([0-9a-fA-F]{32,128})\Z")
_ALGORITHMS: Final = {32: "md5", 40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}
_RECORD: Final = re.compile(
    r"(?:(?P<base>.*)/)?\.cache/huggingface/download/(?P<path>.+)\.metadata\Z"
)
_MANIFEST: Final = re.compile(
    r"(?i)(?:.*[-_.])?(?:manifest|checksums?|sha256(?:sums?)?|hashes|digests|files|integrity)\.json\Z|model\.sig\Z|.*\.sig\Z"
)
_HEX64: Final = re.compile(r"[0-9a-fA-F]{64}")
_NAME_KEYS: Final = ("path", "name", "file", "filename", "rfilename")
_REMEDY: Final = "fetch the repository again at its pinned revision"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.files:
        if entry.size < 1024 and repo.head(entry.path, len(_POINTER)) == _POINTER:
            yield refuse(
                CHECK.id,
                entry.path,
                "is a pointer of Git LFS; the content itself is not here",
                _REMEDY,
            )
    if repo.stage < Stage.CONTENT:
        return
    yield from _listing(repo)
    for entry in repo.with_role(Role.CHECKSUMS):
        yield from _checksums(repo, entry)
    for entry in repo.with_role(Role.JSON, Role.UNKNOWN):
        yield from _manifest(repo, entry)
    for entry in repo.with_role(Role.CACHE):
        if match := _RECORD.match(entry.path):
            base = match["base"]
            yield from _record(repo, entry, f"{base}/{match['path']}" if base else match["path"])


def _differs(path: str, source: str) -> Finding:
    return refuse(CHECK.id, path, f"is not the file that {source} pins", _REMEDY, Severity.CRITICAL)


def _listing(repo: Repo) -> Iterator[Finding]:
    if repo.candidate.listing is None:
        return
    for item in repo.candidate.listing:
        if not repo.here(item.path):
            continue
        if repo.size(item.path) != item.size or (
            item.sha256 is not None and repo.sha256(item.path) != item.sha256
        ):
            yield _differs(item.path, "the listing")


def _checksums(repo: Repo, entry: Entry) -> Iterator[Finding]:
    try:
        text = repo.text(entry.path, 16 * MIB)
    except FormatError as error:
        yield refuse(CHECK.id, entry.path, str(error), "write it again with sha256sum")
        return
    for line in text.splitlines():
        pair = _pair(line.strip(), entry)
        if pair is None:
            continue
        digest, name = pair
        path = f"{entry.folder}/{name}" if entry.folder else name
        if repo.here(path) and path != entry.path:
            if _hash(repo, path, _ALGORITHMS.get(len(digest), "sha256")) != digest.lower():
                yield _differs(path, entry.path)
        elif not repo.has(path):
            yield refuse(CHECK.id, entry.path, f"lists {name!a}, which is not here", _REMEDY)


def _manifest(repo: Repo, entry: Entry) -> Iterator[Finding]:
    """JSON lists of files with SHA-256 digests; OpenSSF Model Signing bundles carry one inside."""
    if not _MANIFEST.match(entry.name) or not repo.here(entry.path):
        return
    try:
        document = json_strict.parse(repo.read(entry.path, 16 * MIB))
        if entry.name.lower().endswith(".sig"):
            document = _signed_statement(document)
    except (FormatError, ValueError):
        return
    for name, digest in _pinned(document):
        path = f"{entry.folder}/{name}" if entry.folder else name
        if repo.here(path) and repo.sha256(path) != digest.lower():
            yield _differs(path, entry.path)
        elif not repo.has(path) and path_problem(name) is None and "." in name:
            yield refuse(CHECK.id, entry.path, f"lists {name!a}, which is not here", _REMEDY)


def _signed_statement(document: Json) -> Json:
    """The in-toto statement inside a Sigstore bundle. Its signature is not checked here."""
    envelope = document.get("dsseEnvelope") if isinstance(document, dict) else None
    payload = envelope.get("payload") if isinstance(envelope, dict) else None
    if not isinstance(payload, str):
        return None
    return json_strict.parse(base64.b64decode(payload, validate=True))


def _pinned(document: Json) -> Iterator[tuple[str, str]]:
    """Every (name, SHA-256) in a document, whichever common shape it has."""
    pending: list[Json] = [document]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, dict):
            name = next((item[k] for k in _NAME_KEYS if isinstance(item.get(k), str)), None)
            digest = _digest_of(item)
            if isinstance(name, str) and digest is not None:
                yield name.removeprefix("./"), digest
                continue
            for key, value in item.items():
                found = value if isinstance(value, str) else _digest_of(value)
                if (
                    isinstance(found, str)
                    and _HEX64.fullmatch(found.removeprefix("sha256:"))
                    and "." in key
                ):
                    yield key.removeprefix("./"), found.removeprefix("sha256:")
                elif isinstance(value, dict | list):
                    pending.append(value)


def _digest_of(item: Json) -> str | None:
    if not isinstance(item, dict):
        return None
    for key in ("sha256", "digest", "hash", "checksum"):
        value = item.get(key)
        if isinstance(value, dict):
            value = value.get("sha256")
        if isinstance(value, str) and _HEX64.fullmatch(value.removeprefix("sha256:")):
            return value.removeprefix("sha256:")
    return None


def _pair(line: str, entry: Entry) -> tuple[str, str] | None:
    if match := _SUM.match(line):
        return match[1], match[2].removeprefix("./")
    if match := _BSD_SUM.match(line):
        return match[3], match[2].removeprefix("./")
    bare = re.fullmatch(r"[0-9a-fA-F]{64}", line)
    if bare and entry.name.lower().endswith((".sha256", ".sha256sum")):
        return line, entry.name.rpartition(".")[0]
    return None


def _record(repo: Repo, entry: Entry, path: str) -> Iterator[Finding]:
    """`hf download --local-dir` notes commit, ETag and time: the ETag is the SHA-256 or the blob id."""
    try:
        lines = repo.text(entry.path, 4096).split("\n")
    except FormatError:
        return
    etag = lines[1].strip().strip('"').removeprefix("W/").strip('"') if len(lines) > 1 else ""
    if not repo.here(path):
        return
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        actual = str(repo.sha256(path))
    elif re.fullmatch(r"[0-9a-f]{40}", etag):
        actual = _blob_id(repo, path)
    else:
        return
    if actual != etag:
        yield _differs(path, "its download record")


def _hash(repo: Repo, path: str, algorithm: str) -> str:
    if algorithm == "sha256":
        return repo.sha256(path)
    with repo.open(path) as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _blob_id(repo: Repo, path: str) -> str:
    digest = hashlib.sha1(f"blob {repo.size(path)}\0".encode(), usedforsecurity=False)
    with repo.open(path) as file:
        while block := file.read(MIB):
            digest.update(block)
    return digest.hexdigest()


CHECK: Final = Check("integrity", "The files that were pinned", Stage.CODE_AND_CONFIG, _run)
