"""A repository of a Hub, from its name to a snapshot in quarantine, refused as early as can be.

The order: pin the commit, list it, prove the list by git, ask the gate; code and configuration, ask;
heads of the weights, ask; tokenizer, ask; everything else, ask; tie every byte to the commit; one
rename. A refusal ends it at once; without PASSED nothing after the heads is downloaded.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pratique.attest.commit_proof import (
    MAX_BLOB_BYTES,
    ProofObjects,
    ProvedFile,
    verify_commit_proof,
)
from pratique.core.candidate import Candidate, Gate, Listed
from pratique.core.findings import Verdict, VerdictState
from pratique.core.foreign import ForeignRoot
from pratique.core.ids import RelPath, RepoId
from pratique.core.policy import Policy
from pratique.core.progress import Progress, Quiet
from pratique.core.snapshot import Proof, Snapshot
from pratique.core.stages import Stage
from pratique.errors import FetchError, UnreadableInput
from pratique.fetch import plan
from pratique.fetch.api import (
    RepoInfo,
)
from pratique.fetch.bring import Bring
from pratique.fetch.existing import existing_snapshot
from pratique.fetch.foreign import (
    FOREIGN_FILE,
    MAX_DEPTH,
    ForeignPin,
    foreign_bytes,
    foreign_references,
)
from pratique.fetch.foreign_code import CodeFetch, CodeReference, code_references, forget_code
from pratique.fetch.gating import gate_answer, stops
from pratique.fetch.listing import (
    Wanted,
    affordable,
    for_gate,
    for_model,
    with_blobs,
    with_folders,
)
from pratique.fetch.pinning import HubRequest, Pinned, pin_commit, resolve
from pratique.fetch.record import HubRecord, write_record
from pratique.fetch.session import HubSession
from pratique.formats.git import is_git_material
from pratique.store.quarantine import (
    Workspace,
    quarantine_dir,
    recorded_snapshot,
    snapshot_dir_name,
    workspace,
)
from pratique.store.tree import walk


@dataclass(frozen=True, slots=True)
class HubFetch:
    """One fetch: where from, where to, and who judges."""

    session: HubSession
    home: Path
    policy: Policy
    gate: Gate
    progress: Progress = field(default_factory=Quiet)
    into: Path | None = None

    def run(self, request: HubRequest, *, within: tuple[RepoId, ...] = ()) -> Snapshot:
        """Fetch. Returns a whole snapshot; one that is there already is checked and returned.

        `within` are the repositories on whose behalf this one is fetched.

        Raises:
            GateRefused, GateWantsApproval: nothing later than that stage was downloaded.
            FetchError: transport, server or proof.
            StorageError: the disk.
        """
        info, renamed = resolve(self.session, request, self.policy)
        final = self._final(info)
        if final.exists() and not final.is_dir():
            raise UnreadableInput(f"{final} is no directory", hint="give another --into")
        if final.exists() and any(final.iterdir()):
            return existing_snapshot(final, info, self.policy, request)
        pinned = pin_commit(self.session, request, info, self.policy, renamed=renamed)
        with workspace(final) as space:
            return _Take(self, pinned, space, (*within, info.repo)).run()

    def _final(self, info: RepoInfo) -> Path:
        if self.into is not None:
            return self.into.absolute()
        return quarantine_dir(self.home) / snapshot_dir_name(info.repo, info.commit)


class _Take:
    """The steps after pinning, over one work directory."""

    def __init__(
        self, fetch: HubFetch, pinned: Pinned, space: Workspace, within: tuple[RepoId, ...]
    ) -> None:
        self._fetch = fetch
        self._within = within
        self._pinned = pinned
        self._space = space
        selected = plan.selector(pinned.request.only, pinned.request.without)
        self._selected = selected
        self._listing = tuple(
            entry for entry in for_gate(pinned.items, pinned.proof) if selected(entry.path)
        )
        self._bring = Bring(fetch.session, pinned, space, fetch.progress)
        self._verdicts: list[tuple[Stage, Verdict]] = []
        self._named: tuple[CodeReference, ...] = ()
        self._code: tuple[Snapshot, ...] = ()

    def run(self) -> Snapshot:
        # `.git*` names are shown to the gate once; their content is carried as proof, not as model.
        self._judge(Stage.LISTING, with_folders(e for e in self._listing if _of_git_or_model(e)))
        listing = with_folders(for_model(self._listing))
        pinned = self._pinned
        files = affordable(pinned.items, self._selected, self._fetch.policy.fetch, pinned.repo)
        self._clear_strays(files)
        stages = plan.stages(files)
        for stage in (Stage.CODE_AND_CONFIG, Stage.HEADERS, Stage.TOKENIZER, Stage.CONTENT):
            self._bring.files(stages[stage], _WORDS[stage])
            if stage is Stage.HEADERS:
                self._bring.heads(stages[Stage.CONTENT])
            self._take_code()
            self._judge(stage, listing)
        return self._finish()

    def _clear_strays(self, files: Iterable[Wanted]) -> None:
        """An earlier run with another selection may have left files that are not wanted now."""
        wanted = {file.path for file in files}
        for path in walk(self._space.model).files:
            if path not in wanted:
                (self._space.model / path).unlink()
        forget_code(self._space)

    def _judge(self, stage: Stage, listing: tuple[Listed, ...]) -> None:
        pinned = self._pinned
        self._fetch.progress.begin("vetting", None)
        verdict = self._fetch.gate.judge(
            Candidate(
                name=pinned.repo.rsplit("/", 1)[-1],
                root=self._space.model,
                repo=pinned.repo,
                commit=pinned.commit,
                listing=listing,
                heads=self._space.heads,
                hub=pinned.info.claims,
                measured=self._bring.measured() if stage is Stage.CONTENT else None,
                foreign=tuple(
                    ForeignRoot(named.pin, code.model_dir)
                    for named, code in zip(self._named, self._code, strict=True)
                ),
            ),
            stage,
        )
        self._verdicts.append((stage, verdict))
        if stops(verdict.state, stage):
            if stage < Stage.CONTENT and verdict.state is VerdictState.FAILED:
                self._space.discard()  # nothing of it is worth keeping, and nobody can allow it
            model = self._space.model
            raise gate_answer(verdict, stage, model.parent if self._code else model)

    def _finish(self) -> Snapshot:
        pinned = self._pinned
        proof = self._carried_proof()
        if proof is not None:
            verify_commit_proof(
                proof,
                {
                    path: ProvedFile(a.wanted.size, a.sha256, a.git_id)
                    for path, a in self._bring.arrived.items()
                },
                commit=pinned.commit,
                left_out=[i.path for i in pinned.items if i.path not in self._bring.arrived],
                signing_keys=self._fetch.policy.fetch.commit_signing_keys,
            )
            for path, body in proof.files():
                self._space.write(f"provenance/{path}", body)
        self._take_foreign()
        record = HubRecord(
            session=self._fetch.session,
            requested=pinned.request.text,
            info=pinned.info,
            pages=pinned.listing.pages,
            proof=Proof.VERIFIED if proof is not None else Proof.NONE,
            policy=self._fetch.policy,
            verdicts=tuple(self._verdicts),
            taken_at=datetime.now(UTC).replace(microsecond=0),
            renamed_from=pinned.renamed_from,
        )
        left_out = [item for item in pinned.items if item.path not in self._bring.arrived]
        document = write_record(self._space, record, list(self._bring.arrived.values()), left_out)
        return recorded_snapshot(self._space.finish(document), document)

    def _take_code(self) -> None:
        """Take along the code of other repositories that the policy pins, for the gate to judge."""
        fetch, pinned = self._fetch, self._pinned
        today = datetime.now(UTC).date()
        named = code_references(self._space.model, fetch.policy, pinned.repo, pinned.commit, today)
        if named == self._named:
            return
        code = CodeFetch(fetch.session, fetch.policy, fetch.progress)
        self._code = code.take(named, self._space)
        self._named = named

    def _take_foreign(self) -> None:
        """Fetch the base models that the gate let an adapter name; write down all pins."""
        pins = [
            ForeignPin.of(named.reference, code)
            for named, code in zip(self._named, self._code, strict=True)
        ]
        for reference in foreign_references(self._space.model):
            if reference.repo in self._within or len(self._within) > MAX_DEPTH:
                raise FetchError(
                    f"{reference.repo} refers back to itself, or through more than {MAX_DEPTH} "
                    "repositories",
                    hint="fetch the repositories one by one",
                )
            fetch = replace(self._fetch, into=None)
            request = HubRequest(reference.repo, reference.revision)
            pins.append(ForeignPin.of(reference, fetch.run(request, within=self._within)))
        if pins:
            self._space.write(FOREIGN_FILE, foreign_bytes(tuple(pins)))

    def _carried_proof(self) -> ProofObjects | None:
        """The proof with the small `.git*` files, which are no model files but can be carried."""
        pinned = self._pinned
        if pinned.proof is None:
            return None
        small = [
            Wanted(RelPath(item.path), item.size, item.git_id)
            for item in pinned.items
            if is_git_material(item.path) and item.sha256 is None and item.size <= MAX_BLOB_BYTES
        ]
        download = self._bring.download()
        bodies: list[bytes] = []
        for file in small[:64]:
            part = self._space.parts / f"{file.expected}.part"
            target = self._space.parts / f"{file.expected}.blob"
            download.fetch(file, part, target)
            bodies.append(target.read_bytes())
        return with_blobs(pinned.proof, bodies)


def _of_git_or_model(entry: Listed) -> bool:
    """All but what a hosting service keeps for itself (`.github/…`), which has no role in a model."""
    parts = entry.path.split("/")
    return not is_git_material(entry.path) or parts[-1].startswith(".git") or ".git" in parts


_WORDS: Final = {
    Stage.CODE_AND_CONFIG: "code and configuration",
    Stage.HEADERS: "indexes",
    Stage.TOKENIZER: "tokenizer",
    Stage.CONTENT: "weights",
}
