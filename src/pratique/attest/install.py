"""Installing trust, keeping it, and reading it back as a proof.

The first root is pinned by a fingerprint that people compare; every later set must follow from it by
TUF's rules (python-tuf's client refuses rollback, freeze, missing thresholds, expired metadata). The
set is checked as a whole in a staging folder and becomes current by one rename of `state.json`.
Between two media the last installed set holds: reading it back verifies every signature and digest
again, but not expiry.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pratique.attest import home as homes
from pratique.attest import words
from pratique.attest.carried import history, newest_root, reader, trust_set
from pratique.attest.home import State, load_state, locked, save_state, trust_dir
from pratique.attest.trustfile import (
    Revocation,
    Revocations,
    TrustFile,
    read_revocations,
    read_trust,
    revocation_key,
)
from pratique.attest.trustroot import (
    CLOCK_SKEW,
    Authorities,
    TrustRoot,
    index_keys,
    index_revocations,
)
from pratique.attest.tufset import (
    MAX_METADATA_BYTES,
    REVOKER_PATH,
    Read,
    VerifiedSet,
    pinned_root,
    read_set,
)
from pratique.core.proof import mint
from pratique.core.recorded import Around, unrecorded
from pratique.errors import FormatError, StorageError, UsageError, VerificationRefused


def installed_trust(home: Path) -> TrustRoot:
    """Return the trust installed in `home`, verified again, emergency revocations included.

    Raises VerificationRefused if none is installed or if it no longer verifies.
    """
    directory = trust_dir(home)
    while True:
        state = load_state(directory)
        if state is None:
            raise VerificationRefused(
                f"no root of trust is installed in {home}",
                hint="run `pratique trust install DIR` once",
            )
        try:
            return _from_state(directory, state)
        except VerificationRefused:
            # An update may have removed the old set while it was read: then there is a new state.
            if load_state(directory) == state:
                raise


def trust_from_directory(directory: Path, fingerprint: str | None) -> TrustRoot:
    """Return the trust in a carried directory, for `verify --trust` alone.

    With `fingerprint` (64 hex digits or eight words) the directory is a trust set as it travels;
    without, it must be a home or trust directory where one was installed. Does NOT judge expiry.
    Raises UnreadableInput if no trust is there, UsageError if it is of the other kind,
    VerificationRefused if it does not verify.
    """
    if fingerprint is not None and homes.installed_in(directory) is not None:
        raise UsageError(
            f"{directory} holds an installed trust, pinned already",
            hint="give the set as it travels; only what was installed on this very host, never what "
            "came on a medium, may go without --root-fingerprint",
        )
    if fingerprint is None:
        if (found := homes.installed_in(directory)) is not None:
            return _from_state(*found)
        trust_set(directory)
        raise UsageError(
            f"{directory} holds no installed trust, so it proves nothing by itself",
            hint="say which root you mean with --root-fingerprint",
        )
    metadata = trust_set(directory)
    first, data = pinned_root(lambda digest: words.matches(digest, fingerprint), metadata)
    digest = hashlib.sha256(data).hexdigest()
    verified = read_set(digest, metadata, reader(directory / "targets"), first)
    return _root(verified, digest, source=str(directory))


def install(
    home: Path,
    medium: Path,
    *,
    now: datetime,
    confirm: Callable[[str], str | None],
    around: Around[tuple[TrustRoot, str]] = unrecorded,
) -> TrustRoot:
    """Install the first root from `medium`, or update to the set that it carries.

    `confirm` is asked only the first time, with the fingerprint of the medium's newest root, and
    returns what the user says it must be (hex or words), or None to stop. Guarantees that the old
    trust stands unless the whole new set was verified. `around` is entered before the moment at
    which the new set holds, with the set and its name. Raises UnreadableInput if there is no set on
    the medium, VerificationRefused.
    """
    from pratique.attest.client import update_metadata  # noqa: PLC0415  # slow, and rarely needed

    metadata = trust_set(medium)
    directory = trust_dir(home)
    with locked(directory):
        state = load_state(directory)
        if state is None:
            first, data = _first_pin(metadata, confirm)
        else:
            _check_floor(state, now)
            first, data = state.first_root, _pinned(directory, state)
        fingerprint = hashlib.sha256(data).hexdigest()
        with _staging(directory) as staged:
            if state is not None:
                _copy_metadata(directory / state.current / "metadata", staged / "metadata")
            update_metadata(medium, staged, data)
            found = read_set(
                fingerprint, history(staged / "metadata"), reader(medium / "targets"), first
            )
            _store_targets(staged, found)
            pin = (first, fingerprint)
            return _commit(
                directory, state, staged, found, pin=pin, medium=medium, now=now, around=around
            )


def _first_pin(metadata: Read, confirm: Callable[[str], str | None]) -> tuple[int, bytes]:
    given = confirm(newest_root(metadata))
    if given is None:
        raise UsageError("nothing was installed", hint="compare the fingerprint with the source's")
    return pinned_root(lambda digest: words.matches(digest, given), metadata)


def _copy_metadata(current: Path, staged: Path) -> None:
    """What was seen last, so that the client refuses anything older."""
    try:
        shutil.copytree(current, staged, symlinks=True)
    except (OSError, shutil.Error) as error:
        raise StorageError(f"cannot stage the trust set: {error}") from error


def revoke_now(
    home: Path, revocation: Revocation, *, around: Around[State] = unrecorded
) -> TrustRoot:
    """Revoke inside the enclave at once, without any key. Undoing it needs the targets threshold.

    `around` is entered with the state that is about to hold.
    """
    directory = trust_dir(home)
    with locked(directory):
        state = load_state(directory)
        if state is None:
            raise VerificationRefused(
                f"no root of trust is installed in {home}", hint="run `pratique trust install DIR`"
            )
        changed = _with_emergency(state, revocation)
        try:
            trust = _from_state(directory, changed)
            if trust.revoked(revocation.kind, revocation.id) is None:
                # Lifted by a clock ahead of ours: what is revoked now is revoked after that.
                lifted = _lifted(_top_revocations(directory, changed))
                at = lifted[revocation_key(revocation.kind, revocation.id)] + timedelta(seconds=1)
                changed = _with_emergency(state, revocation.model_copy(update={"at": at}))
                trust = _from_state(directory, changed)
        finally:  # where the set itself is damaged, too: it may be mended later
            with around(changed):
                save_state(directory, changed)
        return trust


def _with_emergency(state: State, revocation: Revocation) -> State:
    return state.model_copy(update={"emergency": (*state.emergency, revocation)})


def _top_revocations(directory: Path, state: State) -> Revocations:
    return read_revocations(_read_current(directory, state).files["revocations.json"])


def advance_time_floor(home: Path, seen: datetime) -> None:
    """Remember the latest time seen (ledger, signatures): a clock before it ran backwards."""
    directory = trust_dir(home)
    with locked(directory):
        state = load_state(directory)
        if state is not None and (raised := homes.raise_floor(state, seen)) is not state:
            save_state(directory, raised)


def _from_state(directory: Path, state: State) -> TrustRoot:
    found = _read_current(directory, state)
    return _root(found, state.fingerprint, source=str(directory), state=state)


def _read_current(directory: Path, state: State) -> VerifiedSet:
    current = directory / state.current
    return read_set(
        state.fingerprint,
        history(current / "metadata"),
        reader(current / "targets"),
        state.first_root,
    )


def _root(
    found: VerifiedSet, fingerprint: str, *, source: str, state: State | None = None
) -> TrustRoot:
    """Turn verified files into the proof. The only place that makes a TrustRoot."""
    with _usable():
        file = read_trust(found.files["trust.toml"])
        authorities = _authorities(found, file, state.installed_at if state else file.issued)
        lists = _revocations(found, state)
    if state is not None and file.enclave != state.enclave:
        raise VerificationRefused(
            f"the trust set is for the enclave {file.enclave}, this one is {state.enclave}"
        )
    return mint(
        TrustRoot,
        _authorities=authorities,
        _file=file,
        _people=MappingProxyType({i: p for p in file.people for i in p.identities}),
        _revocations=MappingProxyType(index_revocations(lists)),
        as_of=state.installed_at if state else file.issued,
        expires=found.expires,
        fingerprint=fingerprint,
        policies=MappingProxyType(
            {
                n.removeprefix("policies/"): d
                for n, d in found.files.items()
                if n.startswith("policies/")
            }
        ),
        root_version=found.root_version,
        source=source,
        time_floor=state.time_floor if state else file.issued,
        version=found.version,
    )


def _authorities(found: VerifiedSet, file: TrustFile, as_of: datetime) -> Authorities:
    names = sorted(found.files)
    return Authorities(
        as_of=as_of,
        keys=MappingProxyType(index_keys(file)),
        certificate_roots=_certificates(found, "ca/"),
        crls=tuple(found.files[n] for n in names if n.startswith("crl/")),
        timestamp_chains=tuple(_certificates(found, n) for n in names if n.startswith("tsa/")),
        sigstore=found.files.get("trusted_root.json"),
    )


def _revocations(found: VerifiedSet, state: State | None) -> dict[str, tuple[Revocation, ...]]:
    """Return all lists: the administrators', the revoker's, and what was revoked inside."""
    top = read_revocations(found.files["revocations.json"])
    lists = {"top": top.revoked}
    if REVOKER_PATH in found.connected:
        lists["connected"] = read_revocations(found.connected[REVOKER_PATH]).revoked
    if state is not None:
        lifted = _lifted(top)
        lists["emergency"] = tuple(
            r
            for r in state.emergency
            if (at := lifted.get(revocation_key(r.kind, r.id))) is None or r.at > at
        )
    return lists


def _lifted(top: Revocations) -> dict[tuple[str, str], datetime]:
    """When what was last lifted. Emergency revocations made up to then are undone."""
    found: dict[tuple[str, str], datetime] = {}
    for entry in top.lifted:
        key = revocation_key(entry.kind, entry.id)
        found[key] = max(entry.at, found.get(key, entry.at))
    return found


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise VerificationRefused(f"the trust set lacks {error}") from error
    except ValueError as error:
        raise VerificationRefused(
            f"the trust set has a file that cannot be read: {error}"
        ) from error
    except FormatError as error:
        raise VerificationRefused(
            f"the trust set is unusable: {error.message}", hint="have its authors correct it"
        ) from error


def _certificates(found: VerifiedSet, prefix: str) -> tuple[bytes, ...]:
    return tuple(
        certificate.public_bytes(Encoding.DER)
        for name, data in sorted(found.files.items())
        if name.startswith(prefix)
        for certificate in x509.load_pem_x509_certificates(data)
    )


def _commit(
    directory: Path,
    state: State | None,
    staged: Path,
    found: VerifiedSet,
    *,
    pin: tuple[int, str],
    medium: Path,
    now: datetime,
    around: Around[tuple[TrustRoot, str]],
) -> TrustRoot:
    """Make the staged set current. `state.json` is written last: it is the commit point."""
    with _usable():
        file = read_trust(found.files["trust.toml"])
    if file.issued > now + CLOCK_SKEW:
        raise VerificationRefused(
            f"the trust set was issued at {file.issued:%Y-%m-%d %H:%M}Z, after the time of this host",
            hint="set the clock of this host",
        )
    number = 1 if state is None else int(state.current.removeprefix("set-")) + 1
    while os.path.lexists(directory / f"set-{number}"):  # left by an update that was killed
        number += 1
    when = now.astimezone(UTC).replace(microsecond=0)
    new = State(
        schema="pratique.trust-state/v1",
        enclave=file.enclave if state is None else state.enclave,
        fingerprint=pin[1],
        first_root=pin[0],
        current=f"set-{number}",
        installed_at=when,
        time_floor=when if state is None else max(when, state.time_floor),
        source="".join(c if c.isprintable() else "?" for c in str(medium))[:1024],
        emergency=() if state is None else state.emergency,
    )
    trust = _root(found, pin[1], source=str(directory), state=new)
    try:
        staged.rename(directory / new.current)
        homes.sync_directory(directory)
    except OSError as error:
        raise StorageError(f"cannot install the trust set: {error.strerror}") from error
    with around((trust, new.current)):
        save_state(directory, new)
    for old in directory.glob("set-*"):
        if old.name != new.current:
            shutil.rmtree(old, ignore_errors=True)
    return trust


@contextlib.contextmanager
def _staging(directory: Path) -> Iterator[Path]:
    for left in directory.glob(".incoming-*"):  # by an installation that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        staged = Path(tempfile.mkdtemp(dir=directory, prefix=".incoming-"))
    except OSError as error:
        raise StorageError(f"cannot write to {directory}: {error.strerror}") from error
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _store_targets(staged: Path, found: VerifiedSet) -> None:
    """Write the verified bytes themselves: what lies on the medium may change any moment."""
    try:
        for name, data in (*found.files.items(), *found.connected.items()):
            path = staged / "targets" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for path in staged.rglob("*"):
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"cannot stage the trust set: {error.strerror}") from error


def _pinned(directory: Path, state: State) -> bytes:
    data = history(directory / state.current / "metadata")(
        f"{state.first_root}.root.json", MAX_METADATA_BYTES
    )
    if data is None or hashlib.sha256(data).hexdigest() != state.fingerprint:
        raise VerificationRefused(
            "the installed root of trust is damaged",
            hint="restore the trust directory from a backup, or remove it and install again",
        )
    return data


def _check_floor(state: State, now: datetime) -> None:
    if now < state.time_floor - CLOCK_SKEW:
        raise VerificationRefused(
            f"the clock ran backwards: it says {now:%Y-%m-%d %H:%M}Z, but "
            f"{state.time_floor:%Y-%m-%d %H:%M}Z was already seen",
            hint="set the clock of this host; expiry cannot be judged without it",
        )
