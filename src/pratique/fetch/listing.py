"""What a commit holds: the API's list and git's trees, which must agree before a file is asked for.

With the trees at hand they decide: names, kinds and blob ids are theirs; the API adds sizes and LFS
digests, each of which is checked against the blob id (through the LFS pointer). Without git (proof
`none`) the API's list is all there is.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pratique.attest.commit_proof import MAX_BLOB_BYTES, ProofObjects
from pratique.core.candidate import EntryKind, Listed
from pratique.core.ids import MAX_DEPTH, Digest, GitId, RelPath, RepoId, parse_relpath, shown
from pratique.core.policy import FetchRules
from pratique.errors import FetchError, FormatError
from pratique.fetch.api import Item
from pratique.formats.git import (
    GitObjects,
    LfsPointer,
    PathEntry,
    is_git_material,
    parse_lfs_pointer,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to download: where it goes and what it must be.

    `sha256` is known for LFS files. For others `git_id` is the id of the file's own bytes; for LFS
    files it is the pointer's, and says nothing about the content.
    """

    path: RelPath
    size: int
    git_id: GitId
    sha256: Digest | None = None
    xet: Digest | None = None

    @property
    def expected(self) -> str:
        """The digest that the content must end with, as a name for its part file."""
        return self.sha256 or self.git_id


def for_gate(items: Iterable[Item], proof: ProofObjects | None) -> tuple[Listed, ...]:
    """The whole listing as the gate wants it; names, kinds and modes are git's where it is at hand."""
    sizes = {item.path: item for item in items}
    if proof is None:
        return tuple(
            Listed(i.path, i.size, sha256=i.sha256, git_id=i.git_id) for i in sizes.values()
        )
    return tuple(_listed(entry, sizes.get(entry.path)) for entry in proof.paths)


def for_model(listing: Iterable[Listed]) -> tuple[Listed, ...]:
    """Of a listing, what comes into `model/`: git's own files stay out."""
    return tuple(entry for entry in listing if not is_git_material(entry.path))


def with_folders(listing: Iterable[Listed]) -> tuple[Listed, ...]:
    """Add the folders that the paths imply: a walk of the files at rest will find them too."""
    files = tuple(listing)
    parents: dict[str, None] = {}
    for entry in files:
        parts = entry.path.split("/")
        for depth in range(1, min(len(parts), MAX_DEPTH)):
            parents["/".join(parts[:depth])] = None
    names = {entry.path for entry in files}
    folders = (Listed(p, 0, EntryKind.FOLDER) for p in parents if p not in names)
    return (*files, *folders)


def _listed(entry: PathEntry, item: Item | None) -> Listed:
    return Listed(
        path=entry.path,
        size=item.size if item is not None else 0,
        kind=entry.kind,
        executable=entry.executable,
        sha256=item.sha256 if item is not None else None,
        git_id=entry.id,
    )


def cross_check(
    items: Iterable[Item],
    proof: ProofObjects,
    blobs: Callable[[frozenset[GitId]], GitObjects],
) -> ProofObjects:
    """Refuse a listing that git's trees do not bear out. Returns the proof with odd pointers added.

    `blobs` fetches the raw pointers that are not of canonical spelling.

    Raises FetchError naming the path on which the two disagree.
    """
    listed = {item.path: item for item in items}
    entries = {entry.path: entry for entry in proof.paths}
    for path, item in listed.items():
        if path not in entries or entries[path].id != item.git_id:
            raise _disagree(path, "the API lists it, git does not have it" if path not in entries
                            else "the API and git give it different ids")  # fmt: skip
    for path, entry in entries.items():
        if path not in listed and entry.kind is not EntryKind.SUBMODULE:
            raise _disagree(path, "git has it, the API hides it")
    odd = {
        entries[path].id: item
        for path, item in listed.items()
        if item.sha256 is not None and not _canonical(item, entries[path])
    }
    if not odd:
        return _without_files(proof)
    have = _merged(proof, blobs(frozenset(odd) - proof.objects.bodies.keys()))
    for oid, item in odd.items():
        _check_pointer(item, have, oid)
    return _without_files(have, keep=odd.keys())


def _canonical(item: Item, entry: PathEntry) -> bool:
    return item.sha256 is not None and LfsPointer(item.sha256, item.size).blob_id == entry.id


def _check_pointer(item: Item, proof: ProofObjects, oid: GitId) -> None:
    try:
        body = proof.objects.body(oid, "blob")
        pointer = parse_lfs_pointer(body)
    except FormatError as error:
        raise _disagree(item.path, f"git has no LFS pointer there ({error.message})") from error
    if pointer != LfsPointer(sha256=item.sha256 or Digest(""), size=item.size):
        raise _disagree(item.path, "its LFS pointer names another digest or size than the API")


def _merged(proof: ProofObjects, more: GitObjects) -> ProofObjects:
    return ProofObjects(
        proof.commit_id,
        proof.commit,
        proof.paths,
        GitObjects({**proof.objects.bodies, **more.bodies}),
    )


def _without_files(proof: ProofObjects, keep: Iterable[GitId] = ()) -> ProofObjects:
    """Drop blobs that a server without filters sent along: only what the proof needs is carried."""
    wanted = set(keep)
    bodies = {
        oid: (kind, body)
        for oid, (kind, body) in proof.objects.bodies.items()
        if kind != "blob" or (oid in wanted and len(body) <= MAX_BLOB_BYTES)
    }
    return ProofObjects(proof.commit_id, proof.commit, proof.paths, GitObjects(bodies))


def with_blobs(proof: ProofObjects, bodies: Iterable[bytes]) -> ProofObjects:
    """Add small files (`.gitattributes` and the like) to what is carried."""
    return _merged(proof, GitObjects.of(("blob", body) for body in bodies))


def _disagree(path: str, why: str) -> FetchError:
    return FetchError(
        f"the server's file list disagrees with its git trees on {shown(path)}: {why}",
        hint="the server is wrong or lies; nothing was taken from it",
    )


def wanted_files(items: Iterable[Item], selected: Callable[[str], bool]) -> tuple[Wanted, ...]:
    """The files to download, names parsed. Raises FormatError for a name that no disk should see."""
    return tuple(
        Wanted(parse_relpath(i.path), i.size, i.git_id, i.sha256, i.xet)
        for i in items
        if not is_git_material(i.path) and selected(i.path)
    )


def by_content(files: Iterable[Wanted]) -> Mapping[str, tuple[Wanted, ...]]:
    """Group files by their expected digest: the same content is downloaded once."""
    groups: dict[str, list[Wanted]] = {}
    for file in files:
        groups.setdefault(file.expected, []).append(file)
    return {key: tuple(group) for key, group in groups.items()}


def affordable(
    items: Iterable[Item], wanted: Callable[[str], bool], rules: FetchRules, repo: RepoId
) -> tuple[Wanted, ...]:
    """The files to download. Raises FetchError if there are none, or more than the policy permits."""
    try:
        files = wanted_files(items, wanted)
    except FormatError as error:
        raise FetchError(error.message, hint="leave it behind with --without") from error
    for file in files:
        if file.size > rules.max_file_bytes:
            raise FetchError(
                f"{shown(file.path)} has {file.size} bytes, more than the policy permits",
                hint="raise fetch.max_file_bytes, or leave it behind with --without",
            )
    if sum(file.size for file in files) > rules.max_total_bytes:
        raise FetchError(
            f"{repo} is larger than the policy permits",
            hint="raise fetch.max_total_bytes, or leave files behind with --without",
        )
    if not files:
        raise FetchError(f"{repo} has no file that is wanted", hint="check --only and --without")
    return files
