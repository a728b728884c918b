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

from pratique import __version__
from pratique.core.findings import Verdict
from pratique.core.ids import RepoId
from pratique.core.policy import Policy
from pratique.core.snapshot import LeftOutFile, Proof, SnapshotDocument, SnapshotFile
from pratique.core.stages import Stage
from pratique.fetch.api import Item, RepoInfo
from pratique.fetch.session import HubSession
from pratique.fetch.stream import Arrived
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


def write_record(
    space: Workspace, record: HubRecord, files: Iterable[Arrived], left_out: Iterable[Item]
) -> SnapshotDocument:
    """Write everything but `snapshot.json`, which is returned."""
    space.write("provenance/hub/model.json", record.info.raw)
    for number, page in enumerate(record.pages, 1):
        space.write(f"provenance/hub/tree-{number}.json", page)
    space.write("provenance/record.json", _json(_hub_record(record)))
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
        left_out=tuple(
            LeftOutFile(path=i.path, size=i.size, git_id=i.git_id, sha256=i.sha256)
            for i in sorted(left_out, key=lambda i: i.path.encode())
        ),
        fetched_by=versions(),
    )


def _hub_record(record: HubRecord) -> dict[str, object]:
    return {
        "schema": "pratique.fetch-record/v1",
        "who": whoami(),
        "when": record.taken_at.isoformat(),
        "endpoint": record.session.endpoint.base,
        "authenticated": record.session.has_token,
        "requested": record.requested,
        "renamed_from": record.renamed_from,
        "repo": record.info.repo,
        "commit": record.info.commit,
        "proof": record.proof.value,
        "policy": {"name": record.policy.name, "digest": record.policy.digest},
        "versions": versions(),
        "stages": [
            {
                "stage": stage.name.lower(),
                "verdict": verdict.state.value,
                "notes": len(verdict.findings),
            }
            for stage, verdict in record.verdicts
        ],
    }


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
