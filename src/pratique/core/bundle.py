"""`bundle.json`, version 1: what a bundle says of itself, consistent in itself or not a value at all.

It is under the signature; still every statement in it is checked against the files, the signed list
and the commit proof by `pratique.admit`. Paths are relative to `payload/`.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pratique.core.foreign import FOREIGN, MAX_FOREIGN, ForeignRoot, Pin
from pratique.core.ids import (
    BundleId,
    CommitSha,
    Digest,
    GitId,
    RelPath,
    RepoId,
    parse_alias,
    parse_commit,
    parse_digest,
    parse_git_id,
    parse_relpath,
    parse_repo_id,
    shown,
)
from pratique.core.manifest import FileEntry, Manifest
from pratique.core.variants import STATEMENT, is_top_weights
from pratique.errors import FormatError

SCHEMA: Final = "pratique.bundle/v1"
CHUNK_BYTES: Final = 64 * 2**20

PAYLOAD: Final = "payload"
SIGNATURES: Final = "signatures"
DOCUMENT: Final = RelPath("bundle.json")
SUMS: Final = RelPath("SHA256SUMS")
MODEL: Final = "model"
PROVENANCE: Final = "provenance"
EVIDENCE: Final = "evidence"
VARIANTS: Final = "variants"
CONFIG: Final = "config.json"
FOREIGN_PROVENANCE: Final = f"{PROVENANCE}/{FOREIGN}"
VETTER_SIGNATURE: Final = "vetter.sig"
SUFFIX: Final = ".bundle"
_FOLDERS: Final = frozenset({MODEL, VARIANTS, FOREIGN, PROVENANCE, EVIDENCE})
"""What lies elsewhere no gate judges and nobody looks at: it is not carried."""

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)


PathText = Annotated[RelPath, AfterValidator(parse_relpath)]
DigestText = Annotated[Digest, AfterValidator(parse_digest)]


def _real_time(text: str) -> str:
    datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return text


Moment = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"), AfterValidator(_real_time)
]
"""UTC, to the second."""


class SealedFile(BaseModel):
    """One file under the signature. `size` in bytes; `chunks` are BLAKE3 of each 64 MiB, in order.

    An empty file has no chunks; a bundle sealed under `crypto = "fips"` has none at all.
    """

    model_config = _STRICT

    path: PathText
    size: int = Field(ge=0)
    sha256: DigestText
    chunks: tuple[DigestText, ...]


class BundleSource(BaseModel):
    """Where the model came from. `commit` is proven only if `commit_proof` says so."""

    model_config = _STRICT

    kind: Literal["hub", "local", "hf-cache"]
    repo: Annotated[RepoId, AfterValidator(parse_repo_id)] | None = None
    commit: Annotated[CommitSha, AfterValidator(parse_commit)] | None = None
    requested: str | None = None
    endpoint: str | None = None


class BundlePolicy(BaseModel):
    """The policy under which it was vetted and sealed, pinned by the digest of its meaning."""

    model_config = _STRICT

    name: str
    digest: DigestText
    crypto: Literal["default", "fips"]


class AsideFile(BaseModel):
    """A vetted file that is not in `model/`.

    `kept` is where its bytes are in the payload (`.git*` files, which signers of models leave out by
    default), or None: nothing loads it, and it stayed behind.
    """

    model_config = _STRICT

    path: PathText
    size: int = Field(ge=0)
    sha256: DigestText
    kept: PathText | None = None
    reason: str


class AbsentFile(BaseModel):
    """A path of the commit that was never fetched: `git_id` still ties it to the commit."""

    model_config = _STRICT

    path: str
    git_id: Annotated[GitId, AfterValidator(parse_git_id)] | None


class Variant(BaseModel):
    """A quantised or converted copy made at seal time, under `variants/NAME/`."""

    model_config = _STRICT

    name: Annotated[str, AfterValidator(parse_alias)]
    method: str
    statement: PathText = Field(description="the conversion statement, in the payload")


class ForeignRepository(BaseModel):
    """Code of another repository, under `foreign/ORG--NAME@COMMIT/`, always with its commit proof."""

    model_config = _STRICT

    repo: Annotated[RepoId, AfterValidator(parse_repo_id)]
    commit: Annotated[CommitSha, AfterValidator(parse_commit)]

    @property
    def pin(self) -> Pin:
        """Which repository, at which commit."""
        return Pin(self.repo, self.commit)


class BundleDocument(BaseModel):
    """`payload/bundle.json`. Raises FormatError or ValueError if it contradicts itself.

    `files` are all files of the payload but `bundle.json` and `SHA256SUMS`. `subject` is the digest of
    the manifest that the gate vetted: files in `model/`, and those set aside, together. `created` is
    the seal's clock (SOURCE_DATE_EPOCH, else when the snapshot was taken).
    """

    model_config = _STRICT

    schema_: Literal["pratique.bundle/v1"] = Field(alias="schema")
    name: Annotated[str, AfterValidator(parse_alias)]
    source: BundleSource
    commit_proof: Literal["verified", "none", "not-applicable"]
    taken_at: Moment
    created: Moment
    policy: BundlePolicy
    verdict: Literal["PASSED"]
    subject: DigestText
    chunking: Literal["blake3/64MiB"] | None
    files: tuple[SealedFile, ...]
    aside: tuple[AsideFile, ...] = ()
    absent: tuple[AbsentFile, ...] = ()
    variants: tuple[Variant, ...] = ()
    foreign: tuple[ForeignRepository, ...] = Field(default=(), max_length=MAX_FOREIGN)
    runtime: dict[str, str]
    made_by: dict[str, str]

    @property
    def rev8(self) -> str:
        """First 8 digits of the commit, else of the vetted manifest's digest."""
        return (self.source.commit or self.subject)[:8]

    @property
    def label(self) -> str:
        """NAME@REV8."""
        return f"{self.name}@{self.rev8}"

    @property
    def model_files(self) -> tuple[SealedFile, ...]:
        """The files of `model/`."""
        return tuple(f for f in self.files if f.path.startswith(f"{MODEL}/"))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        by_path = {f.path: f for f in self.files}
        Manifest(tuple(FileEntry(f.path, f.size, f.sha256) for f in self.files))
        if DOCUMENT in by_path or SUMS in by_path:
            raise FormatError("bundle.json lists itself or SHA256SUMS")
        for path in by_path:
            if path.split("/")[0] not in _FOLDERS or "/" not in path:
                raise FormatError(f"{shown(path)} belongs to no part of a bundle")
        for file in self.files:
            if len(file.chunks) != (chunk_count(file.size) if self.chunking else 0):
                raise FormatError(
                    f"bundle.json gives {file.path} the wrong number of chunk digests"
                )
        for entry in self.aside:
            kept = entry.kept and by_path.get(entry.kept)
            if entry.kept and (not kept or kept.sha256 != entry.sha256):
                raise FormatError(f"bundle.json says {entry.path} was kept, but it was not")
        if problem := source_problem(self.source, self.commit_proof):
            raise FormatError(f"bundle.json {problem}")
        _check_variants(self.variants, {path: file.sha256 for path, file in by_path.items()})
        _check_foreign(self.foreign, by_path, self.source.repo)
        if self.vetted().digest != self.subject:
            raise FormatError("bundle.json lists other files than the gate vetted")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_new(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A bundle that takes nothing from elsewhere has the bytes that it always had."""
        value: dict[str, Any] = write(self)
        if not self.foreign:
            del value["foreign"]
        return value

    def vetted(self) -> Manifest:
        """The manifest that the gate judged: names as in the repository."""
        beside = (FileEntry(f.path, f.size, f.sha256) for f in self.aside)
        return Manifest.of((*model_manifest(self), *beside))


class Sourced(Protocol):
    """What says where something came from."""

    @property
    def kind(self) -> Literal["hub", "local", "hf-cache"]:
        """Which kind of source."""
        ...

    @property
    def repo(self) -> str | None:
        """ORG/NAME."""
        ...

    @property
    def commit(self) -> str | None:
        """What `repo` was at."""
        ...


_PROOFS: Final[Mapping[str, frozenset[str]]] = {
    "hub": frozenset({"verified", "none"}),
    "hf-cache": frozenset({"verified", "not-applicable"}),
    "local": frozenset({"not-applicable"}),
}


def source_problem(source: Sourced, proof: str) -> str:
    """Say what no source of this kind says, or "": a policy asks each kind for another proof."""
    if proof not in _PROOFS[source.kind]:
        return f"says of its commit proof {proof!r}, which no {source.kind} source does"
    named = (source.repo is not None, source.commit is not None)
    if named != ((False, False) if source.kind == "local" else (True, True)):
        return f"names a repository and commit as no {source.kind} source does"
    return ""


def _check_variants(variants: Iterable[Variant], digests: Mapping[RelPath, Digest]) -> None:
    """Every variant is named once and has its statement; nothing else lies below `variants/`.

    What a variant may have of its own are weights and config.json: the rest is the model's, which is
    what the commit proof speaks of.
    """
    names = [variant.name for variant in variants]
    if len(set(names)) != len(names):
        raise FormatError("bundle.json lists a variant twice")
    shared = _shared(digests, f"{MODEL}/")
    for variant in variants:
        if variant.statement not in digests:
            raise FormatError(f"variant {variant.name} has no conversion statement")
        folder = f"{VARIANTS}/{variant.name}/"
        if variant.statement != f"{folder}{STATEMENT}":
            raise FormatError(f"the statement of variant {variant.name} lies elsewhere")
        found = _shared(digests, folder, STATEMENT)
        if other := sorted(dict(shared.items() ^ found.items())):
            raise FormatError(
                f"variant {variant.name} does not share the model's {shown(other[0])}"
            )
    for path in digests:
        if path.startswith(f"{VARIANTS}/") and path.split("/")[1] not in names:
            raise FormatError(f"{path} belongs to no variant that bundle.json lists")


def _shared(digests: Mapping[RelPath, Digest], folder: str, *own: str) -> dict[str, Digest]:
    """The files below `folder` that a model and its variants have in common."""
    inside = {p.removeprefix(folder): d for p, d in digests.items() if p.startswith(folder)}
    return {p: d for p, d in inside.items() if p not in {CONFIG, *own} and not is_top_weights(p)}


def _check_foreign(
    foreign: Iterable[ForeignRepository], paths: Collection[str], own: RepoId | None
) -> None:
    """Every other repository is named once, at one commit, and has files; nothing lies beside them."""
    labels = [entry.pin.label for entry in foreign]
    names = {entry.repo.casefold() for entry in foreign}
    if len(names) != len(labels) or (own is not None and own.casefold() in names):
        raise FormatError("bundle.json lists another repository twice, or its own as another")
    found: set[str] = set()
    for path in paths:
        for folder in (FOREIGN, FOREIGN_PROVENANCE):
            if path.startswith(f"{folder}/"):
                label = path.removeprefix(f"{folder}/").split("/")[0]
                if label not in labels:
                    raise FormatError(f"{path} belongs to no repository that bundle.json lists")
                found |= {label} if folder == FOREIGN else set()
    if missing := sorted(set(labels) - found):
        raise FormatError(f"bundle.json lists {missing[0]}, of which there is no file")


def foreign_manifests(document: BundleDocument) -> dict[Pin, Manifest]:
    """The manifest of the code of each other repository."""
    return {
        entry.pin: _below(document, f"{FOREIGN}/{entry.pin.label}/") for entry in document.foreign
    }


def foreign_roots(document: BundleDocument, payload: Path) -> tuple[ForeignRoot, ...]:
    """Where that code lies below `payload`, as the gate takes it."""
    pins = (entry.pin for entry in document.foreign)
    return tuple(ForeignRoot(pin, payload / FOREIGN / pin.label) for pin in pins)


def foreign_digests(document: BundleDocument) -> dict[str, Digest]:
    """What a verdict about this bundle must say of that code."""
    return {pin.text: manifest.digest for pin, manifest in foreign_manifests(document).items()}


def model_manifest(document: BundleDocument) -> Manifest:
    """The manifest of `model/` alone: what is there to be judged after sealing."""
    return _below(document, f"{MODEL}/")


def _below(document: BundleDocument, folder: str) -> Manifest:
    return Manifest.of(
        FileEntry(RelPath(f.path.removeprefix(folder)), f.size, f.sha256)
        for f in document.files
        if f.path.startswith(folder)
    )


def variant_manifest(document: BundleDocument, name: str) -> Manifest:
    """The manifest of one variant's folder, its conversion statement included."""
    prefix = f"{VARIANTS}/{name}/"
    return Manifest.of(
        FileEntry(RelPath(f.path.removeprefix(prefix)), f.size, f.sha256)
        for f in document.files
        if f.path.startswith(prefix)
    )


def chunk_count(size: int) -> int:
    """How many chunk digests describe a file of `size` bytes."""
    return -(-size // CHUNK_BYTES)


def bundle_id_of(sums: bytes) -> BundleId:
    """The bundle's id: SHA-256 of the bytes of `SHA256SUMS`."""
    return BundleId(hashlib.sha256(sums).hexdigest())


def sums_of(files: Iterable[tuple[RelPath, Digest]]) -> bytes:
    """Render `SHA256SUMS`: every payload file but itself, sorted by the bytes of its path."""
    lines = sorted(files, key=lambda f: f[0].encode())
    return "".join(f"{digest}  {path}\n" for path, digest in lines).encode()


def is_git_file(path: str) -> bool:
    """Whether signers of models leave this name out by default (`.git`, `.gitattributes`, …)."""
    return any(part.casefold().startswith(".git") for part in path.split("/"))
