"""What is written down beside the files: who fetched what from where with which tools, and what the
server said. No token, no header of a request, no environment.

::

    provenance/record.json       who, when, from where, versions, verdicts of the stages
    provenance/hub/model.json    the API's answer on the repository, byte for byte
    provenance/hub/tree-N.json   the API's listing, page by page, byte for byte
    provenance/git/…             the commit proof (attest.commit_proof)
"""

import getpass
import json
import platform
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, Protocol

from pratique import __version__
from pratique.attest.commit_proof import ProofObjects
from pratique.core.findings import Verdict
from pratique.core.ids import CommitSha, GitId, RelPath, RepoId
from pratique.core.manifest import Manifest
from pratique.core.policy import Policy
from pratique.core.snapshot import LeftOutFile, Proof, SnapshotDocument, SnapshotFile
from pratique.core.stages import Stage
from pratique.fetch.api import Item, ListingAnswer, RepoInfo
from pratique.fetch.session import HubSession
from pratique.fetch.sink import Arrived
from pratique.store.quarantine import Workspace


@dataclass(frozen=True, slots=True)
class HubRecord:
    """What is to be written down of one fetch."""

    session: HubSession
    requested: str
    info: RepoInfo
    pages: tuple[bytes, ...]
    proof: Proof
    policy: Policy
    verdicts: tuple[tuple[Stage, Verdict], ...]
    taken_at: datetime
    renamed_from: RepoId | None = None

    @property
    def repo(self) -> RepoId:
        """The repository as the server calls it."""
        return self.info.repo

    @property
    def commit(self) -> CommitSha:
        """The pinned commit."""
        return self.info.commit

    @property
    def endpoint(self) -> str:
        """Where it was fetched from."""
        return self.session.endpoint.base


class ProvedAnswers(Protocol):
    """What a server said of a commit, and the proof."""

    @property
    def info(self) -> RepoInfo:
        """What the API said of the repository."""
        ...

    @property
    def listing(self) -> ListingAnswer:
        """What it listed."""
        ...

    @property
    def proof(self) -> ProofObjects | None:
        """The commit's git objects."""
        ...


def write_record(
    space: Workspace, record: HubRecord, files: Iterable[Arrived], left_out: Iterable[Item]
) -> SnapshotDocument:
    """Write everything but `snapshot.json`, which is returned."""
    _write_answers(space, record.info, record.pages)
    extra = {
        "authenticated": record.session.has_token,
        "renamed_from": record.renamed_from,
    }
    space.write("provenance/record.json", _json(_record(record, record.endpoint, extra)))
    return SnapshotDocument(
        schema="pratique.snapshot/v1",
        name=record.info.repo.rsplit("/", 1)[-1],
        kind="hub",
        requested=record.requested,
        repo=record.info.repo,
        commit=record.info.commit,
        endpoint=record.session.endpoint.base,
        proof=record.proof.value,
        taken_at=record.taken_at.isoformat(),
        files=tuple(
            SnapshotFile(
                path=a.wanted.path,
                size=a.wanted.size,
                sha256=a.sha256,
                git_id=a.git_id,
                lfs=a.wanted.sha256 is not None,
            )
            for a in sorted(files, key=lambda a: a.wanted.path.encode())
        ),
        left_out=_items(left_out),
        fetched_by=versions(),
    )


def _record(
    record: "HubRecord | LocalRecord", endpoint: str | None, extra: Mapping[str, object] | None
) -> dict[str, object]:
    return {
        "schema": "pratique.fetch-record/v1",
        "who": whoami(),
        "when": record.taken_at.isoformat(),
        "endpoint": endpoint,
        "requested": record.requested,
        "repo": record.repo,
        "commit": record.commit,
        "proof": record.proof.value,
        "policy": {"name": record.policy.name, "digest": record.policy.digest},
        "versions": versions(),
        "stages": [
            {
                "stage": stage.name.lower(),
                "verdict": verdict.state.value,
                "findings": len(verdict.findings),
            }
            for stage, verdict in record.verdicts
        ],
        **(extra or {}),
    }


@dataclass(frozen=True, slots=True)
class LocalRecord:
    """What is to be written down of a fetch from this machine."""

    kind: Literal["local", "hf-cache"]
    requested: str
    name: str
    repo: RepoId | None
    commit: CommitSha | None
    endpoint: str | None
    proof: Proof
    policy: Policy
    verdicts: tuple[tuple[Stage, Verdict], ...]
    taken_at: datetime


def write_local_record(
    space: Workspace,
    record: LocalRecord,
    *,
    manifest: Manifest,
    git_ids: Mapping[RelPath, GitId | None],
    left_out: Mapping[RelPath, int],
    pinned: ProvedAnswers | None,
) -> SnapshotDocument:
    """Write everything but `snapshot.json`, which is returned."""
    if pinned is not None:
        _write_answers(space, pinned.info, pinned.listing.pages)
        for path, body in pinned.proof.files() if pinned.proof is not None else ():
            space.write(f"provenance/{path}", body)
    space.write("provenance/record.json", _json(_record(record, record.endpoint, None)))
    return SnapshotDocument(
        schema="pratique.snapshot/v1",
        name=record.name,
        kind=record.kind,
        requested=record.requested,
        repo=record.repo,
        commit=record.commit,
        endpoint=record.endpoint,
        proof=record.proof.value,
        taken_at=record.taken_at.isoformat(),
        files=tuple(
            SnapshotFile(path=f.path, size=f.size, sha256=f.sha256, git_id=git_ids.get(f.path))
            for f in manifest
        ),
        left_out=_left_out(pinned, manifest, left_out),
        fetched_by=versions(),
    )


def _left_out(
    pinned: ProvedAnswers | None, manifest: Manifest, left_out: Mapping[RelPath, int]
) -> tuple[LeftOutFile, ...]:
    if pinned is None:
        return tuple(LeftOutFile(path=path, size=size) for path, size in sorted(left_out.items()))
    have = {file.path for file in manifest}
    return _items(item for item in pinned.listing.items if item.path not in have)


def _items(items: Iterable[Item]) -> tuple[LeftOutFile, ...]:
    return tuple(
        LeftOutFile(path=i.path, size=i.size, git_id=i.git_id, sha256=i.sha256)
        for i in sorted(items, key=lambda i: i.path.encode())
    )


def _write_answers(space: Workspace, info: RepoInfo, pages: Iterable[bytes]) -> None:
    space.write("provenance/hub/model.json", info.raw)
    for number, page in enumerate(pages, 1):
        space.write(f"provenance/hub/tree-{number}.json", page)


def whoami() -> str:
    """`user@host` of this process, as far as the system says."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def versions() -> dict[str, str]:
    """Versions of everything that touched the bytes."""
    found: dict[str, str] = {"pratique": __version__, "python": platform.python_version()}
    for name in ("huggingface_hub", "httpx2", "dulwich", "hf_xet"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _json(value: Mapping[str, object]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()
