"""Code of another repository: the files that loading reaches, at the commit that the policy pins.

The rules: only a pin that an allowance names is fetched, at exactly that commit, always with the commit
proof, never under another name. Of it come the files that a configuration names and what these import
relatively, nothing else. A code file cannot make us go to a further repository. The gate judges what
came together with the model.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from pratique.attest.commit_proof import ProvedFile, verify_commit_proof
from pratique.core.foreign import FOREIGN, FOREIGN_CODE, MAX_FOREIGN, Pin
from pratique.core.ids import CommitSha, RelPath, RepoId, shown
from pratique.core.policy import Policy
from pratique.core.progress import Progress
from pratique.core.snapshot import Proof, Snapshot
from pratique.errors import FetchError, FormatError, PolicyError
from pratique.fetch.api import repo_info
from pratique.fetch.foreign import ForeignReference, configurations
from pratique.fetch.listing import Wanted, wanted_files
from pratique.fetch.pinning import HubRequest, Pinned, pin_commit
from pratique.fetch.record import HubRecord, write_record
from pratique.fetch.session import HubSession
from pratique.fetch.sink import Arrived
from pratique.fetch.stream import Download
from pratique.formats import python_code
from pratique.formats.auto_map import is_foreign, parse_foreign, references
from pratique.store.quarantine import Workspace, recorded_snapshot, workspace

MAX_FILES: Final = 64
MAX_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class CodeReference:
    """`files` of another repository that configurations name, `where` first."""

    pin: Pin
    where: RelPath
    files: frozenset[str]

    @property
    def reference(self) -> ForeignReference:
        """As it is written down."""
        return ForeignReference("code", self.where, self.pin.repo, self.pin.commit)


def code_references(
    model: Path, policy: Policy, repo: RepoId, commit: CommitSha, today: date
) -> tuple[CodeReference, ...]:
    """What the configurations below `model` take from elsewhere, as far as `policy` pins it.

    What it does not pin, and what is malformed, is not here: the gate refuses both.

    Raises PolicyError if one repository is pinned at two commits.
    """
    pins = _pins(policy, repo, commit, today)
    where: dict[RepoId, RelPath] = {}
    files: dict[RepoId, set[str]] = {}
    for path, value in configurations(model):
        for text in references(value):
            if not isinstance(text, str) or not is_foreign(text):
                continue
            try:
                target = parse_foreign(text)
            except FormatError:
                continue
            if target.repo in pins and target.repo != repo:
                where.setdefault(target.repo, path)
                files.setdefault(target.repo, set()).add(target.file)
    return tuple(CodeReference(pins[r], where[r], frozenset(files[r])) for r in sorted(files))


def _pins(policy: Policy, repo: RepoId, commit: CommitSha, today: date) -> dict[RepoId, Pin]:
    pins: dict[RepoId, Pin] = {}
    for entry in policy.allow:
        pin = entry.pin
        if (
            pin is None
            or entry.expires < today
            or entry.repo not in {None, repo}
            or entry.commit not in {None, commit}
        ):
            continue
        if pins.setdefault(pin.repo, pin) != pin:
            raise PolicyError(
                f"policy {policy.name} pins {pin.repo} at two commits",
                hint=f"keep one [[allow]] of check {FOREIGN_CODE} for it, or limit each with `repo`",
            )
    return pins


@dataclass(frozen=True, slots=True)
class CodeFetch:
    """Takes code of other repositories into a snapshot in the making."""

    session: HubSession
    policy: Policy
    progress: Progress

    def take(self, wanted: Iterable[CodeReference], space: Workspace) -> tuple[Snapshot, ...]:
        """Fetch all of `wanted` anew, each as a snapshot of its own below provenance/foreign/.

        Raises FetchError; nothing bears a snapshot's name unless it is whole and proved.
        """
        forget_code(space)
        folder = space.provenance / FOREIGN
        taken = tuple(wanted)
        if len(taken) > MAX_FOREIGN:
            raise FetchError(
                f"the model takes code from more than {MAX_FOREIGN} repositories",
                hint="vendor the code into the repository",
            )
        return tuple(self._one(one, folder / one.pin.label) for one in taken)

    def _one(self, wanted: CodeReference, final: Path) -> Snapshot:
        pin = wanted.pin
        self.progress.begin(f"code of {pin.repo}", None)
        # Not `resolve`: a pin names a repository, and another name is another repository.
        info = repo_info(self.session, pin.repo, pin.commit)
        request = HubRequest(pin.repo, pin.commit)
        pinned = pin_commit(self.session, request, info, self.policy, renamed=False)
        if pinned.proof is None:
            raise FetchError(
                f"{self.session.endpoint.base} offers no git access to {pin.repo}, so nothing shows "
                f"that its code is that of commit {pin.commit}",
                hint="code of another repository needs a commit proof, whatever the policy says; "
                "vendor it into the repository instead",
            )
        with workspace(final) as space:
            arrived = self._bring(pinned, wanted.files, space)
            return _finish(self, pinned, arrived, space)

    def _bring(
        self, pinned: Pinned, files: frozenset[str], space: Workspace
    ) -> Mapping[RelPath, Arrived]:
        """Bring `files`, what they import from beside them, what that imports, and so on."""
        there = {str(file.path): file for file in wanted_files(pinned.items, _is_code)}
        download = Download(self.session, pinned.repo, pinned.commit, self.progress)
        arrived: dict[RelPath, Arrived] = {}
        pending = sorted(files)
        if missing := [path for path in pending if path not in there]:
            raise FetchError(
                f"{pinned.repo} has no {shown(missing[0])} at commit {pinned.commit}",
                hint="the pin is of another commit than the model was made for",
            )
        while pending:
            file = there[pending.pop(0)]
            if file.path in arrived:
                continue
            _refuse_too_much(pinned.repo, file, arrived)
            target = space.model / file.path
            part = space.parts / f"{file.expected}.part"
            arrived[file.path] = download.fetch(file, part, target)
            pending += [path for path in _imports(target, file.path) if path in there]
        return arrived


def forget_code(space: Workspace) -> None:
    """Remove what an earlier run, under another policy perhaps, took along."""
    shutil.rmtree(space.provenance / FOREIGN, ignore_errors=True)


def _is_code(path: str) -> bool:
    return path.endswith(".py")


def _refuse_too_much(repo: RepoId, file: Wanted, arrived: Mapping[RelPath, Arrived]) -> None:
    size = file.size + sum(one.wanted.size for one in arrived.values())
    if file.size > python_code.MAX_SOURCE or size > MAX_BYTES or len(arrived) >= MAX_FILES:
        raise FetchError(
            f"the code of {repo} is more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB, or one of "
            f"its files more than {python_code.MAX_SOURCE >> 20} MiB",
            hint="vendor the code that is needed into the repository",
        )


def _imports(file: Path, path: RelPath) -> Iterator[str]:
    try:
        yield from python_code.imported_files(python_code.parse(file.read_bytes()), path)
    except FormatError:
        return  # the gate refuses what cannot be read


def _finish(
    fetch: CodeFetch, pinned: Pinned, arrived: Mapping[RelPath, Arrived], space: Workspace
) -> Snapshot:
    proof = pinned.proof
    if proof is None:
        raise RuntimeError("code of another repository without a proof")
    left_out = [item for item in pinned.items if item.path not in arrived]
    verify_commit_proof(
        proof,
        {path: ProvedFile(a.wanted.size, a.sha256, a.git_id) for path, a in arrived.items()},
        commit=pinned.commit,
        left_out=[item.path for item in left_out],
    )
    for path, body in proof.files():
        space.write(f"provenance/{path}", body)
    record = HubRecord(
        session=fetch.session,
        requested=pinned.request.text,
        info=pinned.info,
        pages=pinned.listing.pages,
        proof=Proof.VERIFIED,
        policy=fetch.policy,
        verdicts=(),
        taken_at=datetime.now(UTC).replace(microsecond=0),
    )
    document = write_record(space, record, list(arrived.values()), left_out)
    return recorded_snapshot(space.finish(document), document)
