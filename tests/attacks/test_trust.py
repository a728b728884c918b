"""Attacks on the trust set as it travels, on its installation, and on the installed copy."""

import contextlib
import errno
import json
import os
import shutil
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata

from pratique.attest import home as homes
from pratique.attest.install import (
    advance_time_floor,
    install,
    installed_trust,
    revoke_now,
    trust_from_directory,
)
from pratique.attest.repository import LIFETIMES, Admins, Repository
from pratique.attest.revoking import lifted, revocation
from pratique.attest.trustfile import (
    Person,
    Revocation,
    Revocations,
    read_revocations,
    write_revocations,
)
from pratique.attest.words import spell
from pratique.errors import (
    SealError,
    StorageError,
    UnreadableInput,
    UsageError,
    VerificationRefused,
)
from tests.support.trustkit import ENCLAVE, Kit, digest, disk_without_waiting

__all__ = ["disk_without_waiting"]  # a fixture, used by being here
DAY = timedelta(days=1)


@pytest.fixture
def kit(tmp_path):
    return Kit(tmp_path)


def copy_of(kit, name):
    """The medium as it was at this moment."""
    to = kit.root / name
    shutil.copytree(kit.set.directory, to)
    return to


def refused(kit, reason, medium=None):
    before = kit.home.exists() and (kit.home / "trust" / "state.json").exists()
    held = installed_trust(kit.home).version if before else None
    with pytest.raises(VerificationRefused, match=reason):
        kit.install(medium)
    if before:
        assert installed_trust(kit.home).version == held, "the old trust must still stand"
    else:
        with pytest.raises(VerificationRefused, match="no root of trust is installed"):
            installed_trust(kit.home)


def meta(medium: Path, name: str) -> Path:
    return medium / "metadata" / name


def resign(kit, medium, name, *names):
    """Sign a metadata file again, as somebody with these keys could."""
    from pratique.attest.tufkeys import MetadataSigner

    data = Metadata.from_file(str(meta(medium, name)))
    data.signatures.clear()
    for who in names:
        data.sign(MetadataSigner(kit.signer(who)), append=True)
    data.to_file(str(meta(medium, name)))
    return data


# --- the first installation


def test_pinned_by_hex_or_words(kit, tmp_path):
    kit.init()
    seen = kit.set.fingerprint()
    for number, given in enumerate(
        (seen, spell(seen), spell(seen).upper(), spell(seen).replace(" ", "-"))
    ):
        trust = install(
            tmp_path / f"home{number}", kit.set.directory, now=kit.now, confirm=lambda _, g=given: g
        )
        assert trust.fingerprint == seen
        assert trust.enclave == ENCLAVE


@pytest.mark.parametrize("given", [digest("0"), spell(digest("0"))])
def test_another_fingerprint(kit, given):
    kit.init()
    with pytest.raises(VerificationRefused, match="no root of trust here has that fingerprint"):
        install(kit.home, kit.set.directory, now=kit.now, confirm=lambda _: given)


@pytest.mark.parametrize("cut", [lambda f: f[:16], lambda f: spell(f)[:17], lambda f: ""])
def test_a_fingerprint_that_was_cut(kit, cut):
    kit.init()
    with pytest.raises(UsageError, match="64 hex digits or eight five-letter words"):
        install(kit.home, kit.set.directory, now=kit.now, confirm=cut)


def test_no_answer_installs_nothing(kit):
    kit.init()
    with pytest.raises(UsageError, match="nothing was installed"):
        install(kit.home, kit.set.directory, now=kit.now, confirm=lambda _: None)
    with pytest.raises(VerificationRefused):
        installed_trust(kit.home)


def test_another_root_of_the_same_people(kit, tmp_path):
    """A root made by an attacker who copies every name: only the fingerprint tells."""
    kit.init()
    other = Kit(tmp_path / "other")
    other.root.mkdir()
    other.init()
    seen = kit.set.fingerprint()
    with pytest.raises(VerificationRefused, match="no root of trust here"):
        install(kit.home, other.set.directory, now=kit.now, confirm=lambda _: seen)


def test_no_set_at_all(kit, tmp_path):
    """No medium, or one without a set, is nothing to be judged, first time or not."""
    (tmp_path / "empty").mkdir()
    for installed in (False, True):
        if installed:
            kit.init().install()
        for name, reason in (
            ("nowhere", "there is no directory"),
            ("empty", "there is no trust set"),
        ):
            with pytest.raises(UnreadableInput, match=reason):
                install(kit.home, tmp_path / name, now=kit.now, confirm=lambda newest: newest)


@pytest.mark.parametrize("fingerprint", [None, digest("0")])
def test_no_trust_in_a_directory(kit, tmp_path, fingerprint):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name, reason in (
        ("nowhere", "there is no directory"),
        ("file", "there is no directory"),
        ("empty", "there is no trust set"),
    ):
        with pytest.raises(UnreadableInput, match=reason):
            trust_from_directory(tmp_path / name, fingerprint)


def test_a_root_that_is_not_there_is_refused_where_a_set_is(kit):
    kit.init()
    with pytest.raises(VerificationRefused, match="no root of trust here has that fingerprint"):
        trust_from_directory(kit.set.directory, digest("0"))


# --- the set on the medium


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("timestamp.json", "is incomplete"),
        ("snapshot.json", "is incomplete"),
        ("targets.json", "is incomplete"),
        ("1.root.json", "there is no trust set here"),
    ],
)
def test_missing_metadata(kit, name, reason):
    kit.init()
    meta(kit.set.directory, name).unlink()
    refused(kit, reason)


@pytest.mark.parametrize("name", ["trust.toml", "revocations.json"])
def test_missing_file(kit, name):
    kit.init()
    (kit.set.directory / "targets" / name).unlink()
    refused(kit, f"lacks its file '{name}'")


@pytest.mark.parametrize("name", ["trust.toml", "revocations.json"])
def test_altered_file(kit, name):
    kit.init()
    path = kit.set.directory / "targets" / name
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    refused(kit, "was altered")


@pytest.mark.parametrize("name", ["timestamp.json", "snapshot.json", "targets.json"])
def test_altered_metadata(kit, name):
    kit.init().install()
    kit.change(lambda old: old)
    path = meta(kit.set.directory, name)
    value = json.loads(path.read_text())
    value["signed"]["expires"] = "2099-01-01T00:00:00Z"
    path.write_text(json.dumps(value))
    refused(kit, "was altered|not signed by enough")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"signed":{},"signatures":[]}']
)
@pytest.mark.parametrize("name", ["timestamp.json", "1.root.json"])
def test_garbage_metadata(kit, name, content):
    kit.init()
    seen = kit.set.fingerprint()
    meta(kit.set.directory, name).write_bytes(content)
    with pytest.raises(VerificationRefused):
        install(kit.home, kit.set.directory, now=kit.now, confirm=lambda _: seen)


def test_huge_metadata(kit):
    kit.init()
    with meta(kit.set.directory, "timestamp.json").open("wb") as file:
        file.truncate(5 * 1024 * 1024)
    refused(kit, "larger than")


def test_links_and_pipes_are_not_followed(kit):
    kit.init()
    path = kit.set.directory / "targets" / "trust.toml"
    real = path.rename(kit.root / "trust.toml")
    path.symlink_to(real)
    refused(kit, "lacks its file")
    path.unlink()
    os.mkfifo(path)
    refused(kit, "lacks its file")


def test_threshold_of_administrators(kit):
    """Two of two must sign; one alone is refused."""
    kit.init(threshold=2)
    kit.install()
    kit.set.change(lambda old: old, [kit.signer("admin")], kit.now)
    assert [p.part for p in kit.set.pending()] == ["targets"]
    refused(kit, "altered|not signed by enough")
    kit.set.sign([kit.signer("admin2")], kit.now)
    assert kit.install().version == 2


def test_one_key_under_two_names_counts_once(kit):
    """A threshold is not reached by listing one key twice under other ids."""
    kit.init()
    root = Metadata.from_file(str(meta(kit.set.directory, "1.root.json")))
    admin = kit.signer("admin").key_id
    twin = type(root.signed.keys[admin]).from_dict(digest("e"), root.signed.keys[admin].to_dict())
    root.signed.add_key(twin, "root")
    root.to_file(str(meta(kit.set.directory, "1.root.json")))
    resign(kit, kit.set.directory, "1.root.json", "admin")
    seen = kit.set.fingerprint()
    with pytest.raises(VerificationRefused, match="goes by a name that is not its own"):
        trust_from_directory(kit.set.directory, seen)
    refused(kit, "goes by a name that is not its own")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_stale_set(kit, role, monkeypatch):
    """Metadata that had expired when it reached the enclave: a freeze."""
    monkeypatch.setitem(LIFETIMES, role, -DAY)
    kit.init()
    refused(kit, "the trust set is stale")


def test_stale_update(kit, monkeypatch):
    kit.init().install()
    monkeypatch.setitem(LIFETIMES, "timestamp", -DAY)
    kit.change(lambda old: old)
    refused(kit, "the trust set is stale")


def test_the_same_medium_again_is_no_rollback(kit):
    kit.init().install()
    kit.install()


def test_rollback(kit):
    kit.init()
    old = copy_of(kit, "old")
    kit.revoke("key", kit.signer("ann").key_id)
    kit.install()
    refused(kit, "was rolled back", old)


def test_rollback_of_the_snapshot_alone(kit):
    kit.init()
    old = copy_of(kit, "old")
    kit.change(lambda files: files)
    kit.install()
    kit.change(lambda files: files)
    shutil.copy(meta(old, "snapshot.json"), meta(kit.set.directory, "snapshot.json"))
    refused(kit, "was altered|rolled back")


def test_mix_and_match(kit):
    """Targets of one set with the rest of another."""
    kit.init()
    old = copy_of(kit, "old")
    kit.change(lambda files: files)
    shutil.copy(meta(old, "targets.json"), meta(kit.set.directory, "targets.json"))
    refused(kit, "was altered")


def test_a_target_that_nothing_would_read(kit):
    kit.init()
    kit.change(lambda files: files | {"extra/run.sh": b"#!/bin/sh"})
    refused(kit, "has a file that nothing would read")


@pytest.mark.parametrize(
    "name", ["revocations/connected.json", "policies/a.txt", "ca/a/b.pem", "trust.toml.bak"]
)
def test_names_outside_the_layout(kit, name):
    kit.init()
    kit.change(lambda files: files | {name: b"x"})
    refused(kit, "has a file that nothing would read")


# --- what the files say


def test_unusable_trust_file_is_refused_whole(kit):
    kit.init().install()
    text = b'schema = "pratique.trust/v2"\n'
    from pratique.attest import repository

    original = repository.read_trust
    try:
        repository.read_trust = lambda data: kit.trust_file()
        repository.write_trust, kept = (lambda _: text), repository.write_trust
        kit.change(lambda files: files)
    finally:
        repository.read_trust, repository.write_trust = original, kept
    refused(kit, "the trust set is unusable")


def test_a_set_for_another_enclave(kit):
    kit.init().install()
    kit.change_trust(enclave="lighthouse")
    refused(kit, "is for the enclave lighthouse, this one is harbour")


def test_issued_in_the_future(kit):
    """The host's clock is behind its trust: expiry could not be judged."""
    kit.init()
    later, kit.now = kit.now, kit.now - 3 * DAY
    refused(kit, "after the time of this host")
    kit.now = later
    kit.install()


def test_garbage_certificates_and_lists(kit):
    kit.init(files={"ca/root.pem": b"x"})
    refused(kit, "has a file that cannot be read")


# --- rotation


def rotate(kit, admins, *signers, threshold=1, revokers=()):
    kit.set.rotate(
        Admins(
            tuple(kit.public(n) for n in admins), threshold, tuple(kit.public(n) for n in revokers)
        ),
        [kit.signer(n) for n in signers],
        kit.now,
    )


def test_rotation_is_followed(kit):
    kit.init().install()
    rotate(kit, ["new"], "admin", "new")
    assert kit.set.pending() == ()
    trust = kit.install()
    assert trust.root_version == 2
    kit.change(lambda files: files, "new")
    assert kit.install().version == trust.version + 1


def test_rotation_from_the_first_pin_across_several_roots(kit, tmp_path):
    kit.init()
    first = kit.set.fingerprint()
    rotate(kit, ["b"], "admin", "b")
    rotate(kit, ["c"], "b", "c")
    trust = install(tmp_path / "home2", kit.set.directory, now=kit.now, confirm=lambda _: first)
    assert trust.root_version == 3
    newest = kit.set.fingerprint()
    trust = install(tmp_path / "home3", kit.set.directory, now=kit.now, confirm=lambda _: newest)
    assert trust.root_version == 3


def test_rotation_needs_the_old_administrators(kit):
    kit.init().install()
    rotate(kit, ["new"], "new")
    assert [p.part for p in kit.set.pending()] == ["root (by those before)"]
    refused(kit, "not signed by enough|was altered")


def test_rotation_needs_the_new_administrators(kit):
    kit.init().install()
    rotate(kit, ["new"], "admin")
    assert "root" in [p.part for p in kit.set.pending()]
    refused(kit, "not signed by enough")


def test_the_removed_administrator_is_out(kit):
    kit.init().install()
    rotate(kit, ["new"], "admin", "new")
    kit.install()
    with pytest.raises(SealError, match="may not sign this change; nothing was changed"):
        kit.change(lambda files: files, "admin")


def test_old_root_signed_by_the_removed_key(kit):
    """A root of the next version, signed by a key that the last rotation removed."""
    kit.init().install()
    rotate(kit, ["new"], "admin", "new")
    kit.install()
    forged = Metadata.from_file(str(meta(kit.set.directory, "2.root.json")))
    forged.signed.version = 3
    forged.to_file(str(meta(kit.set.directory, "3.root.json")))
    resign(kit, kit.set.directory, "3.root.json", "admin")
    refused(kit, "not signed by enough")


# --- the revoker


def test_the_revoker_revokes_and_nothing_else(kit):
    kit.init(revokers=("coast",)).install()
    kit.verify(kit.good())
    entry = Revocation(kind="identity", id="bea", reason="phone stolen", at=kit.now)
    lists = Revocations(schema="pratique.revocations/v1", revoked=(entry,))
    kit.set.revoke_connected(lists, [kit.signer("coast")], kit.now)
    assert kit.set.pending() == ()
    kit.install()
    with pytest.raises(VerificationRefused, match="identity revoked"):
        kit.verify(kit.good())


def test_the_revoker_cannot_change_people(kit):
    kit.init(revokers=("coast",)).install()
    with pytest.raises(SealError, match="may not sign this change"):
        kit.change(lambda files: files, "coast")
    kit.change(lambda files: files)  # by hand, then
    resign(kit, kit.set.directory, "targets.json", "coast")
    refused(kit, "altered|not signed by enough")


def test_the_revoker_cannot_lift(kit):
    kit.init(revokers=("coast",)).install()
    kit.revoke("identity", "bea")
    entry = Revocation(kind="identity", id="bea", reason="no matter", at=kit.now)
    lists = Revocations(schema="pratique.revocations/v1", lifted=(entry,))
    kit.set.revoke_connected(lists, [kit.signer("coast")], kit.now)
    kit.install()
    assert kit.trust().revoked("identity", "bea") is not None


def test_rollback_of_the_revokers_list(kit):
    kit.init(revokers=("coast",))
    old = copy_of(kit, "old")
    lists = Revocations(schema="pratique.revocations/v1")
    kit.set.revoke_connected(lists, [kit.signer("coast")], kit.now)
    kit.install()
    refused(kit, "was rolled back", old)


def test_fast_forward_by_a_stolen_revoker_is_cured_by_rotation(kit):
    """Whoever dates a set may jump ahead; taking their key out makes the enclave forget the jump."""
    kit.init(revokers=("coast",)).install()
    for name in ("snapshot.json", "timestamp.json"):
        data = Metadata.from_file(str(meta(kit.set.directory, name)))
        data.signed.version = 10**9
        if name == "timestamp.json":
            data.signed.snapshot_meta = kit.set._describe("snapshot.json")
        data.to_file(str(meta(kit.set.directory, name)))
        resign(kit, kit.set.directory, name, "coast")
    jumped = copy_of(kit, "jumped")
    kit.install(jumped)
    for name in ("snapshot.json", "timestamp.json"):  # the administrators go on from their own copy
        data = Metadata.from_file(str(meta(kit.set.directory, name)))
        data.signed.version = 1
        data.to_file(str(meta(kit.set.directory, name)))
    kit.change(lambda files: files)
    refused(kit, "was rolled back")
    rotate(kit, ["admin", "admin2"], "admin", "admin2", threshold=2)
    assert kit.set.pending() == ()
    assert kit.install().root_version == 2
    refused(kit, "was rolled back|not signed by enough", jumped)


def test_a_second_delegation(kit):
    from tuf.api.metadata import DelegatedRole

    kit.init(revokers=("coast",))
    targets = Metadata.from_file(str(meta(kit.set.directory, "targets.json")))
    key = kit.signer("coast").key_id
    targets.signed.delegations.roles["more"] = DelegatedRole("more", [key], 1, False, paths=["*"])
    targets.to_file(str(meta(kit.set.directory, "targets.json")))
    resign(kit, kit.set.directory, "targets.json", "admin")
    kit.set.sign([kit.signer("admin")], kit.now)
    refused(kit, "delegates to a role other than the revoker")


# --- emergency, inside


def test_emergency_needs_no_key_and_survives_updates(kit):
    kit.init().install()
    kit.verify(kit.good())
    revoke_now(kit.home, revocation(kind="identity", what="ann", reason="fired", at=kit.now))
    with pytest.raises(VerificationRefused, match="identity revoked"):
        kit.verify(kit.good())
    kit.change(lambda files: files)
    kit.install()
    with pytest.raises(VerificationRefused, match="identity revoked"):
        kit.verify(kit.good())


def test_lifting_an_emergency_takes_the_administrators(kit):
    kit.init().install()
    entry = revocation(kind="identity", what="ann", reason="a mistake", at=kit.now)
    revoke_now(kit.home, entry)

    def lift(files):
        old = read_revocations(files["revocations.json"])
        return files | {"revocations.json": write_revocations(lifted(old, entry))}

    kit.change(lift)
    kit.install()
    kit.verify(kit.good())
    later = revocation(
        kind="identity", what="ann", reason="once more", at=kit.now + timedelta(minutes=1)
    )
    revoke_now(kit.home, later)
    with pytest.raises(VerificationRefused, match="identity revoked"):
        kit.verify(kit.good())


def test_emergency_without_trust(kit):
    with pytest.raises(VerificationRefused, match="no root of trust is installed"):
        revoke_now(kit.home, revocation(kind="identity", what="x", reason="x", at=kit.now))


# --- time


def test_the_floor_rises_and_never_falls(kit):
    kit.init().install()
    advance_time_floor(kit.home, kit.now + 5 * DAY)
    advance_time_floor(kit.home, kit.now - 5 * DAY)
    assert kit.trust().time_floor == kit.now + 5 * DAY
    with pytest.raises(VerificationRefused, match="the clock ran backwards"):
        kit.verify(kit.good())
    kit.verify(kit.good(), now=kit.now + 5 * DAY)
    refused(kit, "the clock ran backwards")


def test_the_floor_survives_an_update(kit):
    kit.init().install()
    advance_time_floor(kit.home, kit.now + timedelta(minutes=4))
    kit.change(lambda files: files)
    kit.install()
    assert kit.trust().time_floor == kit.now + timedelta(minutes=4)


# --- the installed copy


def test_installed_copy_is_verified_again(kit):
    kit.init().install()
    current = next((kit.home / "trust").glob("set-*"))
    path = current / "targets" / "trust.toml"
    path.write_bytes(path.read_bytes().replace(b"threshold = 1", b"threshold = 0"))
    with pytest.raises(VerificationRefused, match="was altered"):
        kit.trust()


@pytest.mark.parametrize(
    "name", ["targets.json", "snapshot.json", "timestamp.json", "root_history/1.root.json"]
)
def test_installed_metadata_is_verified_again(kit, name):
    kit.init().install()
    current = next((kit.home / "trust").glob("set-*"))
    path = current / "metadata" / name
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 2'))
    with pytest.raises(VerificationRefused):
        kit.trust()


@pytest.mark.parametrize("mode", [0o622, 0o606, 0o666])
def test_state_that_others_may_write(kit, mode):
    kit.init().install()
    (kit.home / "trust" / "state.json").chmod(mode)
    with pytest.raises(VerificationRefused, match="others may write to"):
        kit.trust()


def test_directory_that_others_may_write(kit):
    kit.init().install()
    (kit.home / "trust").chmod(0o777)
    with pytest.raises(VerificationRefused, match="others may write to"):
        kit.trust()


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: b"",
        lambda d: d[:-2],
        lambda d: d + b"\n",
        lambda d: d.replace(b"set-1", b"set-../x"),
        lambda d: d.replace(b'"first_root":1', b'"first_root":0'),
        lambda d: d.replace(b"{", b'{"more":1,', 1),
    ],
)
def test_damaged_state(kit, damage):
    kit.init().install()
    path = kit.home / "trust" / "state.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(VerificationRefused, match="is damaged"):
        kit.trust()


def test_home_is_private(kit):
    kit.init().install()
    assert (kit.home / "trust").stat().st_mode & 0o777 == 0o700
    assert (kit.home / "trust" / "state.json").stat().st_mode & 0o777 == 0o600


def test_reading_while_an_update_removes_the_old_set(kit, monkeypatch):
    from pratique.attest import install as module

    kit.init().install()
    original, updated = module._from_state, []

    def slow(directory, state):
        if not updated:
            updated.append(True)
            kit.change(lambda files: files)
            kit.install()
        return original(directory, state)

    monkeypatch.setattr(module, "_from_state", slow)
    assert installed_trust(kit.home).version == 2


# --- a directory instead of an installation


def test_directory_needs_a_fingerprint(kit):
    kit.init()
    with pytest.raises(UsageError, match="proves nothing by itself"):
        trust_from_directory(kit.set.directory, None)
    trust = trust_from_directory(kit.set.directory, spell(kit.set.fingerprint()))
    assert trust.source == str(kit.set.directory)
    kit.verify(kit.good(), trust=trust)


def test_directory_may_be_an_installed_home(kit):
    kit.init().install()
    for place in (kit.home, kit.home / "trust"):
        assert trust_from_directory(place, None).fingerprint == kit.trust().fingerprint
        with pytest.raises(UsageError, match="pinned already") as refused:
            trust_from_directory(place, kit.trust().fingerprint)
        # Who prepared a medium may have "installed" there what they like: it must not be proposed.
        assert "never what came on a medium" in refused.value.hint


def test_auditor_years_later(kit, monkeypatch):
    """Expired metadata does not stop an auditor, who says by fingerprint whose root counts."""
    monkeypatch.setitem(LIFETIMES, "timestamp", -DAY)
    kit.init()
    trust_from_directory(kit.set.directory, kit.set.fingerprint())


# --- a crash at any point leaves the old state or the new one


@pytest.mark.parametrize("point", range(12))
def test_crash_while_updating(kit, monkeypatch, point):
    kit.init().install()
    kit.change(lambda files: files)
    count = 0

    class Killed(BaseException):
        pass

    def dying(original):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == point + 1:
                raise Killed
            return original(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "fsync"):
            patch.setattr(os, name, dying(getattr(os, name)))
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(Path, "replace", dying(Path.replace))
        patch.setattr(Path, "write_bytes", dying(Path.write_bytes))
        patch.setattr(homes, "sync_directory", dying(homes.sync_directory))
        with contextlib.suppress(Killed):
            kit.install()
    assert kit.trust().version in {1, 2}
    kit.verify(kit.good())
    assert kit.install().version == 2
    left = [
        p.name for p in (kit.home / "trust").iterdir() if p.name.startswith((".incoming", ".new"))
    ]
    assert left == []


CHANGES = {
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.symlink",
    "os.chmod",
    "os.truncate",
}


def killed_at(point: int, action) -> bool:
    """Run `action` in a child that SIGKILLs itself before its n-th change to the disk.

    Python announces every such call to audit hooks. Returns whether the child was killed.
    """
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event, arguments):
            nonlocal seen
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
            if writes or event in CHANGES:
                if seen == point:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1

        try:
            sys.addaudithook(hook)
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("what", ["install", "update", "emergency"])
def test_kill_at_every_change_to_the_disk(kit, what):
    """Either the old trust or the new one, never neither, and the next attempt succeeds."""
    kit.init()
    if what != "install":
        kit.install()
        kit.change(lambda files: files)
    entry = revocation(kind="identity", what="dan", reason="lost", at=kit.now)
    action = (lambda: revoke_now(kit.home, entry)) if what == "emergency" else kit.install
    point = 0
    clean = kit.root / "clean"
    shutil.copytree(kit.home, clean, symlinks=True) if kit.home.exists() else clean.mkdir()
    while killed_at(point, action):
        if what == "install" and not (kit.home / "trust" / "state.json").exists():
            with pytest.raises(VerificationRefused, match="no root of trust is installed"):
                kit.trust()
        else:
            trust = kit.trust()
            assert trust.version in {1, 2}
            kit.verify(kit.good(), trust=trust)
        action()
        kit.trust()
        shutil.rmtree(kit.home)
        shutil.copytree(clean, kit.home, symlinks=True)
        if what == "install":
            shutil.rmtree(kit.home)
        point += 1
    assert point >= (3 if what == "emergency" else 10)


def test_disk_full_while_updating(kit, monkeypatch):
    import errno

    from pratique.errors import StorageError

    kit.init().install()
    kit.change(lambda files: files)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="No space left"):
            kit.install()
    assert kit.trust().version == 1


def test_people_who_share_a_key_are_refused_when_written(kit):
    with pytest.raises(ValueError, match="two people share a credential"):
        kit.trust_file(
            people=(
                Person(name="ann", keys=(kit.pem("ann"),)),
                Person(name="bea", keys=(kit.pem("ann"),)),
            )
        )


def test_init_overwrites_nothing(kit):
    kit.init()
    with pytest.raises(UsageError, match="already holds a trust set"):
        kit.init()


@pytest.mark.parametrize("there", [True, False])
def test_another_user_can_read_what_was_exported(kit, tmp_path, there):
    """Whoever carries it is not who installs it, and a stick may keep owners and modes."""
    kit.init()
    medium = tmp_path / "medium"
    if there:
        medium.mkdir(mode=0o700)
    old = os.umask(0o077)
    try:
        kit.set.export(medium)
    finally:
        os.umask(old)
    parts = [p for p in medium.rglob("*") if p.is_dir()] + ([] if there else [medium])
    assert {p.stat().st_mode & 0o777 for p in parts} == {0o755}
    assert {p.stat().st_mode & 0o777 for p in medium.rglob("*") if p.is_file()} == {0o644}
    assert medium.stat().st_mode & 0o777 == (0o700 if there else 0o755)


def test_export_to_a_medium_without_modes(kit, tmp_path, monkeypatch):
    kit.init()

    def refuse(*_args, **_more):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    for call in ("chmod", "fchmod", "utime"):
        monkeypatch.setattr(os, call, refuse)
    kit.set.export(tmp_path / "medium")
    monkeypatch.undo()
    assert kit.install(tmp_path / "medium").version == 1


def test_export_to_a_full_medium_leaves_nothing(kit, tmp_path, monkeypatch):
    kit.init()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pratique.attest.carried.os.fsync", full)
    with pytest.raises(StorageError, match=r"No space left on device$"):
        kit.set.export(tmp_path / "medium")
    assert not (tmp_path / "medium").exists()
    monkeypatch.undo()
    kit.set.export(tmp_path / "medium")


def test_export_only_when_complete(kit, tmp_path):
    kit.init(threshold=2)
    kit.set.change(lambda old: old, [kit.signer("admin")], kit.now)
    with pytest.raises(UsageError, match="still lacks signatures"):
        kit.set.export(tmp_path / "medium")
    kit.set.sign([kit.signer("admin2")], kit.now)
    kit.set.export(tmp_path / "medium")
    with pytest.raises(UsageError, match="already holds"):
        kit.set.export(tmp_path / "medium")
    assert kit.install(tmp_path / "medium").version == 2
    assert Repository(tmp_path / "medium").pending() == ()
