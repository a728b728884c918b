"""Writing a trust set: who must sign which part, and what is still missing.

A set is a directory of TUF metadata and the files it vouches for. Every change makes a new, unsigned
version; it counts once enough administrators have signed it, each on a machine of their own if they
like. Nothing here decides whom to trust, and a set that lacks signatures cannot be exported.

Administrators hold root, targets, snapshot and timestamp. A revoker may hold the one delegated role:
it adds revocations and dates the set, and can change neither people nor policies.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from pratique.attest.admins import Admins, Pending, appoint, delegation, missing
from pratique.attest.carried import carry_out, read_regular
from pratique.attest.home import all_or_nothing, write_atomically
from pratique.attest.keys import Signer
from pratique.attest.trustfile import (
    Revocations,
    TrustFile,
    read_trust,
    write_revocations,
    write_trust,
)
from pratique.attest.tufkeys import MetadataSigner, tuf_key
from pratique.attest.tufset import (
    MAX_METADATA_BYTES,
    MAX_ROOTS,
    MAX_TARGET_BYTES,
    REVOKER,
    REVOKER_PATH,
)
from pratique.errors import FormatError, SealError, UnreadableInput, UsageError

LIFETIMES: Final[Mapping[str, timedelta]] = {
    "root": timedelta(days=5 * 365),
    "targets": timedelta(days=400),
    REVOKER: timedelta(days=400),
    "snapshot": timedelta(days=400),
    "timestamp": timedelta(days=90),
}
S = TypeVar("S", Root, Timestamp, Snapshot, Targets)
EMPTY: Final = Revocations(schema="pratique.revocations/v1")


class Repository:
    """A trust set's directory, open for changes."""

    def __init__(self, directory: Path) -> None:
        self._metadata = directory / "metadata"
        self._targets = directory / "targets"
        self.directory = directory

    # --- reading

    def root(self) -> Metadata[Root]:
        """Return the newest root, signed or not."""
        return self._load(f"{self.root_version()}.root.json", Root)

    def root_version(self) -> int:
        """Return the version of the newest root. Raises UnreadableInput if this is no trust set."""
        versions = [v for v in range(1, MAX_ROOTS) if (self._metadata / f"{v}.root.json").is_file()]
        if not versions:
            raise UnreadableInput(
                f"{self.directory} is not a trust set",
                hint="make one with `pratique trust init DIR`",
            )
        return versions[-1]

    def fingerprint(self) -> str:
        """Return the hex SHA-256 of the newest root: what is read aloud at installation."""
        newest = self._metadata / f"{self.root_version()}.root.json"
        return hashlib.sha256(newest.read_bytes()).hexdigest()

    def trust(self) -> TrustFile:
        """Return `trust.toml` as it stands, signed or not."""
        return read_trust(self._read_target("trust.toml"))

    def files(self) -> dict[str, bytes]:
        """Return every file that the targets role vouches for, by name."""
        targets = self._load("targets.json", Targets)
        return {name: self._read_target(name) for name in targets.signed.targets}

    def pending(self) -> tuple[Pending, ...]:
        """Return what still lacks signatures. Empty: the set can be exported."""
        root = self.root()
        found = list(self._root_pending(root))
        targets = self._load("targets.json", Targets)
        found += missing("targets", root.signed.get_delegated_role("targets"), targets)
        if targets.signed.delegations is not None:
            revoker = self._load(f"{REVOKER}.json", Targets)
            role = targets.signed.get_delegated_role(REVOKER)
            found += missing(REVOKER, role, revoker)
        if not found and not self._dated():
            timestamp = self._load("timestamp.json", Timestamp)
            role = root.signed.get_delegated_role("timestamp")
            timestamp.signatures.clear()
            found += missing("timestamp", role, timestamp)
        return tuple(found)

    # --- changing

    def init(
        self, trust: TrustFile, admins: Admins, signers: Iterable[Signer], now: datetime
    ) -> None:
        """Start a set, or leave nothing. Raises UsageError if the directory holds one already.

        Raises SealError if a signer is neither administrator nor revoker.
        """
        if self._metadata.exists() or self._targets.exists():
            raise UsageError(
                f"{self.directory} already holds a trust set", hint="choose another directory"
            )
        keys = tuple(signers)
        _may_sign(keys, {tuf_key(key).keyid for key in (*admins.keys, *admins.revokers)})
        with all_or_nothing(self.directory, self._metadata, self._targets):
            self._start(trust, admins, now)
            self.sign(keys, now)

    def _start(self, trust: TrustFile, admins: Admins, now: datetime) -> None:
        root = Root(expires=_until("root", now), consistent_snapshot=False)
        appoint(root, admins)
        targets = Targets(expires=_until("targets", now))
        if admins.revokers:
            targets.delegations = delegation(admins.revokers)
            self._new_revoker(Revocations(schema=EMPTY.schema_), 1, now)
        self._write_files(
            targets,
            {"trust.toml": write_trust(trust), "revocations.json": write_revocations(EMPTY)},
        )
        self._save("timestamp.json", Metadata(Timestamp(expires=_until("timestamp", now))))
        self._save("snapshot.json", Metadata(Snapshot(expires=_until("snapshot", now))))
        self._save("targets.json", Metadata(targets))
        self._save("1.root.json", Metadata(root))

    def change(
        self,
        edit: Callable[[dict[str, bytes]], dict[str, bytes]],
        signers: Iterable[Signer],
        now: datetime,
    ) -> None:
        """Make a new version of the files; signatures of the version before do not carry over.

        Raises SealError, with nothing changed, if a signer is no administrator.
        """
        keys = tuple(signers)
        _may_sign(keys, self.root().signed.roles["targets"].keyids)
        self._change(edit, keys, now)

    def _change(
        self,
        edit: Callable[[dict[str, bytes]], dict[str, bytes]],
        signers: Iterable[Signer],
        now: datetime,
    ) -> None:
        targets = self._load("targets.json", Targets)
        files = edit(self.files())
        trust = read_trust(files["trust.toml"])
        files["trust.toml"] = write_trust(trust.model_copy(update={"issued": _second(now)}))
        targets.signed.targets = {}
        self._write_files(targets.signed, files)
        _next(targets, "targets", now)
        self._save("targets.json", targets)
        self.sign(signers, now)

    def rotate(self, admins: Admins, signers: Iterable[Signer], now: datetime) -> None:
        """Make a new root with these administrators.

        It takes the signatures of the old threshold and of the new one; targets have to be signed
        again by the new administrators. Raises SealError, with nothing changed, if a signer is neither.
        """
        keys = tuple(signers)
        owners = {tuf_key(key).keyid for key in (*admins.keys, *admins.revokers)}
        _may_sign(keys, {*owners, *self.root().signed.roles["root"].keyids})
        if self._root_pending(self.root()):
            raise UsageError(
                "the newest root is not signed yet", hint="finish it with `pratique trust sign`"
            )
        root = self.root()
        root.signed.keys, root.signed.roles = {}, Root(consistent_snapshot=False).roles
        appoint(root.signed, admins)
        _next(root, "root", now)
        self._save(f"{root.signed.version}.root.json", root)
        targets = self._load("targets.json", Targets)
        if admins.revokers:
            targets.signed.delegations = delegation(admins.revokers)
            if not (self._metadata / f"{REVOKER}.json").exists():
                self._new_revoker(EMPTY, 1, now)
        else:
            targets.signed.delegations = None
        self._save("targets.json", targets)
        self._change(lambda files: files, keys, now)

    def revoke_connected(
        self, revocations: Revocations, signers: Iterable[Signer], now: datetime
    ) -> None:
        """Replace the revoker's own list. Takes the delegated role's signature only.

        Raises SealError, with nothing changed, if a signer is not the revoker.
        """
        keys = tuple(signers)
        role = self._load("targets.json", Targets).signed.get_delegated_role(REVOKER)
        _may_sign(keys, role.keyids)
        old = self._load(f"{REVOKER}.json", Targets)
        self._new_revoker(revocations, old.signed.version + 1, now)
        self.sign(keys, now)

    def connected(self) -> bytes | None:
        """Return the revoker's list, or None where no revoker was appointed."""
        return read_regular(self._targets / REVOKER_PATH, MAX_TARGET_BYTES)

    def sign(self, signers: Iterable[Signer], now: datetime) -> int:
        """Add the signatures that each signer may give; date the set once it is complete.

        Returns how many parts were signed. Raises SealError if a signer may sign nothing here.
        """
        made = 0
        for signer in signers:
            count = self._sign_parts(MetadataSigner(signer), now)
            if not count:
                raise SealError(
                    f"the key {signer.key_id[:16]} has nothing to sign in this trust set",
                    hint="`pratique trust status DIR` names who still has to sign",
                )
            made += count
        return made

    def export(self, to: Path) -> None:
        """Copy the set to a medium. Raises UsageError if it lacks signatures."""
        if self.pending():
            raise UsageError(
                "the trust set still lacks signatures",
                hint="`pratique trust status DIR` names who still has to sign",
            )
        if (to / "metadata").exists() or (to / "targets").exists():
            raise UsageError(f"{to} already holds a trust set", hint="choose an empty directory")
        carry_out((self._metadata, self._targets), to)

    # --- inside

    def _sign_parts(self, signer: MetadataSigner, now: datetime) -> int:
        keyid = signer.public_key.keyid
        root = self.root()
        made = 0
        if any(keyid in p.candidates for p in self._root_pending(root)):
            root.sign(signer, append=True)
            self._save(f"{root.signed.version}.root.json", root)
            made += 1
        targets = self._load("targets.json", Targets)
        if keyid in root.signed.roles["targets"].keyids and keyid not in targets.signatures:
            targets.sign(signer, append=True)
            self._save("targets.json", targets)
            made += 1
        if targets.signed.delegations is not None:
            revoker = self._load(f"{REVOKER}.json", Targets)
            allowed = targets.signed.get_delegated_role(REVOKER).keyids
            if keyid in allowed and keyid not in revoker.signatures:
                revoker.sign(signer, append=True)
                self._save(f"{REVOKER}.json", revoker)
                made += 1
        others = [p for p in self.pending() if p.part != "timestamp"]
        if not others and keyid in root.signed.roles["timestamp"].keyids:
            self._date(signer, now)
            made += 1
        return made

    def _root_pending(self, root: Metadata[Root]) -> list[Pending]:
        found = missing("root", root.signed.roles["root"], root)
        if root.signed.version > 1:
            before = self._load(f"{root.signed.version - 1}.root.json", Root)
            found += missing("root (by those before)", before.signed.roles["root"], root)
        return found

    def _date(self, signer: MetadataSigner, now: datetime) -> None:
        snapshot = self._load("snapshot.json", Snapshot)
        parts = ["targets.json"]
        if (self._metadata / f"{REVOKER}.json").exists():
            parts.append(f"{REVOKER}.json")
        snapshot.signed.meta = {p: self._describe(p) for p in parts}
        first = not snapshot.signatures
        _next(snapshot, "snapshot", now, keep_version=first)
        snapshot.sign(signer)
        self._save("snapshot.json", snapshot)
        timestamp = self._load("timestamp.json", Timestamp)
        timestamp.signed.snapshot_meta = self._describe("snapshot.json")
        _next(timestamp, "timestamp", now, keep_version=first)
        timestamp.sign(signer)
        self._save("timestamp.json", timestamp)

    def _dated(self) -> bool:
        """Whether snapshot and timestamp describe exactly what lies here, signed by who may."""
        root = self.root().signed
        timestamp = self._load("timestamp.json", Timestamp)
        snapshot = self._load("snapshot.json", Snapshot)
        if missing("timestamp", root.roles["timestamp"], timestamp) or missing(
            "snapshot", root.roles["snapshot"], snapshot
        ):
            return False
        listed = {**snapshot.signed.meta, "snapshot.json": timestamp.signed.snapshot_meta}
        return all(self._describe(name) == meta for name, meta in listed.items())

    def _describe(self, name: str) -> MetaFile:
        data = (self._metadata / name).read_bytes()
        version: int = Metadata.from_bytes(data).signed.version
        return MetaFile.from_data(version, data, ["sha256"])

    def _new_revoker(self, revocations: Revocations, version: int, now: datetime) -> None:
        role = Targets(version=version, expires=_until(REVOKER, now))
        self._write_files(role, {REVOKER_PATH: write_revocations(revocations)})
        self._save(f"{REVOKER}.json", Metadata(role))

    def _write_files(self, role: Targets, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            path = self._targets / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data, 0o644)
            role.targets[name] = TargetFile.from_data(name, data, ["sha256"])

    def _read_target(self, name: str) -> bytes:
        data = read_regular(self._targets / name, MAX_TARGET_BYTES)
        if data is None:
            raise FormatError(f"the trust set lacks its file {name}")
        return data

    def _load(self, name: str, kind: type[S]) -> Metadata[S]:
        data = read_regular(self._metadata / name, MAX_METADATA_BYTES)
        if data is None:
            raise FormatError(f"the trust set lacks {name}")
        try:
            metadata: Metadata[S] = Metadata.from_bytes(data)
        except RepositoryError as error:
            raise FormatError(f"the trust set's {name} is not TUF metadata") from error
        if metadata.signed.type != kind.type:
            raise FormatError(f"the trust set's {name} is not of the type {kind.type}")
        return metadata

    def _save(self, name: str, metadata: Metadata[S]) -> None:
        write_atomically(
            self._metadata / name, metadata.to_bytes(JSONSerializer(compact=False)), 0o644
        )


def _may_sign(signers: Sequence[Signer], allowed: Collection[str]) -> None:
    """Raise SealError unless each signer is one of the `allowed`, and given once.

    Before anything is written: a set that a stranger's key changed and did not sign would wait for
    somebody to sign it by mistake.
    """
    seen: set[str] = set()
    for signer in signers:
        keyid = MetadataSigner(signer).public_key.keyid
        if keyid not in allowed or keyid in seen:
            twice = " twice" if keyid in seen else ""
            raise SealError(
                f"the key {signer.key_id[:16]} may not sign this change{twice}; nothing was changed",
                hint="administrators sign changes; the revoker's are made with --as-revoker",
            )
        seen.add(keyid)


def _next(metadata: Metadata[S], role: str, now: datetime, *, keep_version: bool = False) -> None:
    if not keep_version:
        metadata.signed.version += 1
    metadata.signed.expires = _until(role, now)
    metadata.signatures.clear()


def _until(role: str, now: datetime) -> datetime:
    return _second(now) + LIFETIMES[role]


def _second(now: datetime) -> datetime:
    return now.replace(microsecond=0)
