"""A snapshot that is there already: returned if it is what fetching would make now, and never changed."""

from datetime import UTC, datetime
from pathlib import Path

from pratique.core.policy import Policy
from pratique.core.snapshot import Snapshot
from pratique.errors import UnreadableInput
from pratique.fetch import plan
from pratique.fetch.api import RepoInfo
from pratique.fetch.foreign_code import code_references
from pratique.fetch.pinning import HubRequest
from pratique.formats.git import is_git_material
from pratique.store.quarantine import open_snapshot, read_document


def existing_snapshot(final: Path, info: RepoInfo, policy: Policy, request: HubRequest) -> Snapshot:
    """Return the snapshot that is there, if it is what fetching would make now."""
    snapshot = open_snapshot(final)
    if (snapshot.source.repo, snapshot.source.commit) != (info.repo, info.commit):
        raise UnreadableInput(
            f"{final} exists and holds something else", hint="give another directory with --into"
        )
    today = datetime.now(UTC).date()
    named = code_references(snapshot.model_dir, policy, info.repo, info.commit, today)
    if {one.pin for one in named} != {code.pin for code in snapshot.foreign}:
        raise UnreadableInput(
            f"{final} has code of other repositories at other commits than the policy pins",
            hint="remove it and fetch again; a snapshot is never edited",
        )
    here = {str(file.path) for file in snapshot.manifest}
    selected = plan.selector(request.only, request.without)
    known = here.union(entry.path for entry in read_document(final).left_out)
    if here != {path for path in known if selected(path) and not is_git_material(path)}:
        raise UnreadableInput(
            f"{final} has other files of this commit than are wanted now",
            hint="remove it, or fetch into another directory with --into",
        )
    return snapshot
