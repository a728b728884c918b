"""What is put before the gate, and the seam between `fetch` (which has it) and `vet` (which judges).

A candidate is untrusted: its paths are names as the source spelled them, not yet parsed.
"""

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pratique.core.findings import Verdict
from pratique.core.foreign import ForeignRoot
from pratique.core.ids import CommitSha, RepoId
from pratique.core.manifest import Manifest
from pratique.core.stages import Stage


class EntryKind(enum.StrEnum):
    """What a name in a repository stands for."""

    FILE = "file"
    LINK = "link"
    FOLDER = "folder"
    SUBMODULE = "submodule"
    SPECIAL = "special"
    """FIFO, socket, device."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One name in a candidate's listing. `path` is foreign text, `size` in bytes as claimed.

    `sha256` and `git_id` are what the source claims (an LFS oid, a git blob id), or None.
    """

    path: str
    size: int
    kind: EntryKind = EntryKind.FILE
    executable: bool = False
    sha256: str | None = None
    git_id: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A repository before the gate.

    `root` holds the files that are here so far, under their own paths. Before stage CONTENT not all
    are: `listing` then names all of them (None: whatever a walk of `root` finds), and `heads` holds,
    under the same paths, the first bytes of files that are not here whole. `hub` carries what the
    server said of the repository (licence tag, library, its own scan), as plain values. `reference`
    is the directory of an admitted base model to compare the tokenizer with. `measured` is what the
    caller found itself while it wrote `root`, to which nobody else can write: the gate then hashes
    only what it parses, and refuses if anything else lies there. None: the gate hashes everything.
    `foreign` is the code of other repositories that is carried along; it is always hashed.
    `made_from` is the commit of the model of which this is a converted copy: no commit speaks of a
    copy's bytes (`commit` is None), but what it shares with the model, by digest, was in that one.
    """

    name: str
    root: Path
    repo: RepoId | None = None
    commit: CommitSha | None = None
    listing: tuple[Listed, ...] | None = None
    heads: Path | None = None
    hub: dict[str, object] = field(default_factory=dict)
    reference: Path | None = None
    measured: Manifest | None = None
    foreign: tuple[ForeignRoot, ...] = ()
    made_from: CommitSha | None = None


class Gate(Protocol):
    """Judges candidates. `fetch` takes one, so that it can refuse before it pays."""

    def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
        """Return the verdict of all checks up to `stage`. Fails closed: an error is a refusal."""
        ...
