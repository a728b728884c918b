"""Code of another repository: a pin of its own, or it does not exist for us.

A reference (`other/repo--module.Class`) names no commit, and whoever follows it takes what is there on
the day. A person names the commit, in an allowance; everything here speaks of that pin.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pratique.core.ids import CommitSha, Digest, RepoId, parse_commit, parse_repo_id, shown
from pratique.errors import FormatError

FOREIGN_CODE: Final = "foreign-code"
"""Id of the check whose allowance names a pin."""
FOREIGN: Final = "foreign"
"""Folder of such code: below a payload, and below a snapshot's provenance/."""
MAX_FOREIGN: Final = 8
"""Other repositories that one model may take code from."""


@dataclass(frozen=True, slots=True, order=True)
class Pin:
    """Another repository at one commit."""

    repo: RepoId
    commit: CommitSha

    @property
    def text(self) -> str:
        """ORG/NAME@COMMIT, as an allowance names it."""
        return f"{self.repo}@{self.commit}"

    @property
    def digest(self) -> Digest:
        """SHA-256 of `text`: what the finding about it shows."""
        return Digest(hashlib.sha256(self.text.encode()).hexdigest())

    @property
    def label(self) -> str:
        """ORG--NAME@COMMIT, as a folder. Unambiguous: a repository id never has `--` in it."""
        return f"{self.repo.replace('/', '--')}@{self.commit}"


def parse_pin(text: str) -> Pin:
    """Return `ORG/NAME@COMMIT`. Raises FormatError, also for a branch or a shortened commit."""
    repo, at, commit = text.partition("@")
    if not at:
        raise FormatError(f"not ORG/NAME@COMMIT: {shown(text)}")
    return Pin(parse_repo_id(repo), parse_commit(commit))


def parse_label(name: str) -> Pin:
    """Return the pin that a folder is named for. Raises FormatError."""
    pin = parse_pin(name.replace("--", "/", 1))
    if pin.label != name:
        raise FormatError(f"not ORG--NAME@COMMIT: {shown(name)}")
    return pin


def shown_path(repo: RepoId, path: str) -> str:
    """How findings and allowances name a file of another repository."""
    return f"{repo}: {path}"


@dataclass(frozen=True, slots=True)
class ForeignRoot:
    """Where the code of a pin lies. Untrusted like every candidate's root."""

    pin: Pin
    root: Path
