"""Lock a recipe, compare a lock with what is upstream now, build a bundle from a locked recipe."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pratique.attest.keys import Signer
from pratique.core.candidate import Gate
from pratique.core.findings import Verdict
from pratique.core.ids import parse_repo_id
from pratique.core.progress import Progress
from pratique.core.recorded import Around, unrecorded
from pratique.core.snapshot import Snapshot
from pratique.errors import UnreadableInput, VerificationRefused
from pratique.fetch import plan
from pratique.fetch.foreign import foreign_snapshots
from pratique.fetch.hub import HubFetch
from pratique.fetch.listing import Wanted, wanted_files
from pratique.fetch.pinning import HubRequest, Pinned, pin
from pratique.fetch.session import HubSession
from pratique.fetch.stream import Download
from pratique.flows.fetching import FetchOptions, fetch, open_session, parse_request
from pratique.flows.recipe import (
    Lock,
    LockedFile,
    Recipe,
    RecipeFile,
    differs_from_lock,
    drift,
    lock_bytes,
    manifest_digest,
    read_lock,
)
from pratique.flows.sealing import SealRequest, vet_and_seal
from pratique.formats.git import is_git_material
from pratique.seal.seal import SealedBundle
from pratique.store.quarantine import hash_tree, quarantine_dir


def make_lock(recipe: RecipeFile, options: FetchOptions, progress: Progress) -> Lock:
    """Say which bytes the recipe means now. Downloads small files only; writes nothing.

    Raises FetchError, UnreadableInput.
    """
    if recipe.recipe.repo is None:
        return _lock_directory(recipe)
    request = parse_request(f"{recipe.recipe.repo}@{recipe.recipe.revision}")
    with open_session(options) as session:
        pinned = pin(session, request, options.policy)
        with TemporaryDirectory(prefix="pratique-lock-") as scratch:
            files = _locked(recipe.recipe, pinned, session, Path(scratch), progress)
    return Lock(
        schema="pratique.lock/v1",
        repo=pinned.repo,
        revision=recipe.recipe.revision,
        commit=pinned.commit,
        manifest=manifest_digest(files),
        files=files,
    )


def _lock_directory(recipe: RecipeFile) -> Lock:
    wanted = plan.selector(recipe.recipe.only, recipe.recipe.without)
    files = tuple(
        LockedFile(path=entry.path, size=entry.size, sha256=entry.sha256)
        for entry in hash_tree(recipe.source_directory())
        if wanted(entry.path) and not is_git_material(entry.path)
    )
    return Lock(schema="pratique.lock/v1", manifest=manifest_digest(files), files=files)


def _locked(
    recipe: Recipe, pinned: Pinned, session: HubSession, scratch: Path, progress: Progress
) -> tuple[LockedFile, ...]:
    """SHA-256 of large files comes from their proved LFS pointers, of small ones from their bytes."""
    files = wanted_files(pinned.items, plan.selector(recipe.only, recipe.without))
    small = [file for file in files if file.sha256 is None]
    progress.begin("small files", sum(file.size for file in small))
    download = Download(session, pinned.repo, pinned.commit, progress)

    def digest(file: Wanted) -> str:
        if file.sha256 is not None:
            return file.sha256
        target = scratch / file.expected
        return download.fetch(file, target.with_suffix(".part"), target).sha256

    return tuple(
        LockedFile(path=f.path, size=f.size, sha256=digest(f), git_id=f.git_id)
        for f in sorted(files, key=lambda f: f.path.encode())
    )


def write_lock(recipe: RecipeFile, lock: Lock) -> tuple[str, ...] | None:
    """Write the lock beside the recipe, whole or not at all; return what moved since the one before.

    Nothing moved where there was no lock. None: there was one that cannot be read, and a new one is
    the cure for that, so nobody can say what moved.
    """
    moved: tuple[str, ...] | None = ()
    if recipe.lock_path.exists():
        try:
            moved = drift(read_lock(recipe), lock)
        except UnreadableInput:
            moved = None
    new = recipe.lock_path.with_name(recipe.lock_path.name + ".new")
    new.write_bytes(lock_bytes(lock))
    new.replace(recipe.lock_path)
    return moved


def check_lock(recipe: RecipeFile, options: FetchOptions, progress: Progress) -> tuple[str, ...]:
    """Return what moved upstream since the lock was written; empty means nothing."""
    return drift(read_lock(recipe), make_lock(recipe, options, progress))


@dataclasses.dataclass(frozen=True, slots=True)
class Build:
    """One build: the recipe, how to fetch, who judges, where the bundle goes."""

    recipe: RecipeFile
    options: FetchOptions
    gate: Gate
    output: Path | None = None

    def fetch(self, progress: Progress) -> Snapshot:
        """Fetch what the lock names. Raises VerificationRefused if anything else came."""
        lock = read_lock(self.recipe)
        recipe = self.recipe.recipe
        options = dataclasses.replace(
            self.options, only=recipe.only, without=recipe.without, name=recipe.name
        )
        if recipe.repo is None:
            snapshot = fetch(str(self.recipe.source_directory()), options, self.gate, progress)
        else:
            snapshot = self._from_hub(lock, options, progress)
        if moved := differs_from_lock(lock, snapshot.manifest):
            raise VerificationRefused(
                f"{moved[0]} is not what {self.recipe.lock_path.name} says "
                f"({len(moved)} file(s) differ)",
                hint="run `pratique lock --check` to see what moved; review, then lock again",
            )
        return snapshot

    def _from_hub(self, lock: Lock, options: FetchOptions, progress: Progress) -> Snapshot:
        recipe = self.recipe.recipe
        if lock.repo is None or lock.repo != recipe.repo or lock.commit is None:
            raise VerificationRefused(
                f"{self.recipe.lock_path.name} is for another repository than the recipe",
                hint="run `pratique lock` again and review it",
            )
        repo = parse_repo_id(lock.repo)
        request = HubRequest(repo, lock.commit, recipe.only, recipe.without)
        with open_session(options) as session:
            return HubFetch(
                session, options.home, options.policy, self.gate, progress, options.into
            ).run(request)

    def run(
        self,
        signer: Callable[[], Signer],
        *,
        on_verdict: Callable[[Verdict], None],
        progress: Progress,
        around: Around[SealedBundle] = unrecorded,
    ) -> SealedBundle:
        """Fetch, vet and seal, what the model takes from other repositories as bundles beside it.

        Raises what `fetch`, `vet` and `seal` raise.
        """
        snapshot = self.fetch(progress)
        root = snapshot.model_dir.parent
        beside = self.output
        if beside is not None and not beside.is_dir():
            beside = beside.parent
        quarantine = quarantine_dir(self.options.home)
        wanted = [(quarantine / name, beside) for name in foreign_snapshots(snapshot)]
        for directory, output in wanted:
            request = SealRequest(directory, self.options.policy, output)
            self._seal(request, signer, on_verdict, progress, around)
        variants = self.recipe.recipe.variants
        request = SealRequest(root, self.options.policy, self.output, variants)
        return self._seal(request, signer, on_verdict, progress, around)

    def _seal(
        self,
        request: SealRequest,
        signer: Callable[[], Signer],
        on_verdict: Callable[[Verdict], None],
        progress: Progress,
        around: Around[SealedBundle],
    ) -> SealedBundle:
        return vet_and_seal(
            request, self.gate, signer, on_verdict=on_verdict, progress=progress, around=around
        )
