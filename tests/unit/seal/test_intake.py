"""Taking in: hashed once into a private copy; what happens to the original afterwards is too late."""

import errno
import os
import pwd
from pathlib import Path

import pytest

from pratique.core.candidate import Candidate
from pratique.core.findings import Verdict
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import (
    FormatError,
    SealError,
    StorageError,
    UnreadableInput,
    VerificationRefused,
)
from pratique.flows.sealing import SealRequest, vet_and_seal
from pratique.seal.intake import manifest_of, take_in
from pratique.seal.seal import seal
from pratique.seal.staging import private_folder
from pratique.store import disk
from pratique.store.measure import Wanted
from pratique.store.quarantine import document_bytes, hash_tree
from tests.support.bundles import (
    FILES,
    NOW,
    POLICY,
    OpenGate,
    World,
    make_world,
    sealing_of,
    write_tiny,
)
from tests.unit.store.test_quarantine import document


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("intake"))


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    root = tmp_path / "snapshot"
    write_tiny(root / "model")
    (root / "provenance").mkdir()
    (root / "provenance/record.json").write_text("{}")
    (root / "snapshot.json").write_bytes(document_bytes(document(root)))
    return root


def copy_in(tmp_path: Path) -> Path:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    return folder


def test_a_bare_directory_is_copied_and_measured(tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "tiny")
    taken = take_in(model, copy_in(tmp_path), Wanted.BOTH, now=NOW)
    root = taken.snapshot.model_dir
    assert root == tmp_path / "private/model"
    assert hash_tree(root) == hash_tree(model) == taken.snapshot.manifest
    assert manifest_of(taken.files[root]) == taken.snapshot.manifest
    assert taken.snapshot.name == "tiny"
    assert all(file.chunks for file in taken.files[root] if file.size)


def test_a_snapshot_is_a_snapshot_again(tmp_path: Path, snapshot: Path) -> None:
    taken = take_in(snapshot, copy_in(tmp_path), Wanted.SHA256)
    assert hash_tree(tmp_path / "private") == hash_tree(snapshot)
    assert set(taken.files) == {tmp_path / "private/model", tmp_path / "private/provenance"}
    assert taken.snapshot.provenance_dir == tmp_path / "private/provenance"


def test_in_place_nothing_is_written(tmp_path: Path, snapshot: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    taken = take_in(snapshot, None, Wanted.BOTH)
    assert taken.snapshot.model_dir == snapshot / "model"
    assert taken.snapshot.manifest == hash_tree(snapshot / "model")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("copied", [True, False])
def test_other_bytes_than_recorded(tmp_path: Path, snapshot: Path, copied: bool) -> None:
    (snapshot / "model/config.json").write_bytes(b"{}")
    with pytest.raises(VerificationRefused, match=r"config\.json.*changed since"):
        take_in(snapshot, copy_in(tmp_path) if copied else None, Wanted.BOTH)


@pytest.mark.parametrize("copied", [True, False])
def test_what_does_not_belong_into_a_snapshot(tmp_path: Path, snapshot: Path, copied: bool) -> None:
    (snapshot / "setup.py").write_text("")
    with pytest.raises(FormatError, match="does not belong"):
        take_in(snapshot, copy_in(tmp_path) if copied else None, Wanted.BOTH)


@pytest.mark.parametrize("where", ["model/link", "provenance/link"])
def test_links_are_not_followed(tmp_path: Path, snapshot: Path, where: str) -> None:
    (snapshot / where).symlink_to("/etc/passwd")
    with pytest.raises(FormatError, match="link"):
        take_in(snapshot, copy_in(tmp_path), Wanted.BOTH)


def test_a_document_that_is_a_link(tmp_path: Path, snapshot: Path) -> None:
    (snapshot / "snapshot.json").rename(tmp_path / "elsewhere.json")
    (snapshot / "snapshot.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(FormatError, match="link"):
        take_in(snapshot, copy_in(tmp_path), Wanted.BOTH)


def test_a_snapshot_without_provenance(tmp_path: Path, snapshot: Path) -> None:
    disk.remove_tree(snapshot / "provenance")
    with pytest.raises(UnreadableInput):
        take_in(snapshot, copy_in(tmp_path), Wanted.BOTH)


class Meddling(OpenGate):
    """Passes everything; meanwhile somebody writes to the original."""

    def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
        verdict = super().judge(candidate, stage)
        original = candidate.root.parent.parent / "in/tiny/config.json"
        assert original.is_file()
        original.write_bytes(b"something else")
        return verdict


def test_what_was_judged_is_what_is_carried(world: World, tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "in/tiny")
    request = SealRequest(model, POLICY, tmp_path / "tiny.bundle")
    bundle = vet_and_seal(request, Meddling(), lambda: world.vetter, on_verdict=lambda _: None)
    assert (model / "config.json").read_bytes() == b"something else"
    carried = bundle.path / "payload/model/config.json"
    assert carried.read_bytes() == FILES["config.json"]
    assert bundle.document.subject == bundle.document.vetted().digest
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_the_gate_is_handed_what_was_measured(world: World, tmp_path: Path) -> None:
    shown: list[Candidate] = []

    class Watching(OpenGate):
        def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
            shown.append(candidate)
            assert candidate.root.parent.stat().st_mode & 0o777 == 0o700
            return super().judge(candidate, stage)

    model = write_tiny(tmp_path / "in/tiny")
    request = SealRequest(model, POLICY, tmp_path / "tiny.bundle")
    vet_and_seal(request, Watching(), lambda: world.vetter, on_verdict=lambda _: None)
    assert [c.measured for c in shown] == [hash_tree(model)]


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    left = tmp_path / ".pratique-sealing-abcdefgh"
    write_tiny(left / "model")
    (left / "model").chmod(0o500)
    with private_folder(tmp_path) as folder:
        assert [p.name for p in tmp_path.iterdir()] == [folder.name]
        with private_folder(tmp_path) as other:
            assert folder.is_dir()  # somebody is at work there
            assert other != folder
    assert list(tmp_path.iterdir()) == []


def test_sweeping_follows_no_link(tmp_path: Path) -> None:
    precious = write_tiny(tmp_path / "precious")
    near = tmp_path / "near"
    near.mkdir()
    (near / ".pratique-sealing-aaaaaaaa").symlink_to(precious)
    with private_folder(near):
        pass
    assert hash_tree(precious).files


def test_sealing_into_the_model_directory_itself(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_tiny(tmp_path / "tiny")
    before = hash_tree(model)
    monkeypatch.chdir(model)
    bundle = vet_and_seal(
        SealRequest(Path(), POLICY), OpenGate(), lambda: world.vetter, on_verdict=lambda _: None
    )
    assert bundle.path.parent == model
    assert bundle.document.vetted() == before


def test_empty_folders_are_not_taken_along(tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "tiny")
    (model / "a/b").mkdir(parents=True)
    take_in(model, copy_in(tmp_path), Wanted.BOTH)
    copied = [p.name for p in (tmp_path / "private/model").rglob("*") if p.is_dir()]
    assert copied == ["1_Pooling"]


def test_a_bare_directory_is_as_old_as_the_clock_says(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two sealings of the same files, a second apart, would be two bundles."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    request = SealRequest(write_tiny(tmp_path / "in/tiny"), POLICY, tmp_path / "tiny.bundle")
    bundle = vet_and_seal(request, OpenGate(), lambda: world.vetter, on_verdict=lambda _: None)
    assert bundle.document.taken_at == bundle.document.created == "2023-11-14T22:13:20Z"


# --- room -----------------------------------------------------------------------------------------


def free_bytes(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_frsize * (found.f_bfree if os.geteuid() == 0 else found.f_bavail)


def with_holes(tmp_path: Path, size: int) -> Path:
    """A model with a file of that size that takes no room on the disk."""
    model = write_tiny(tmp_path / "in/tiny")
    with (model / "model.safetensors").open("r+b") as file:
        file.truncate(size)
    return model


def limited(**changes: int) -> Policy:
    return POLICY.model_copy(update={"fetch": POLICY.fetch.model_copy(update=changes)})


def test_a_file_with_holes_is_refused_before_it_fills_the_disk(
    world: World, tmp_path: Path
) -> None:
    size = free_bytes(tmp_path) + (1 << 30)
    policy = limited(max_file_bytes=size, max_total_bytes=2 * size)
    model = with_holes(tmp_path, size)
    total = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    request = SealRequest(model, policy, tmp_path / "out/tiny.bundle")
    with pytest.raises(StorageError, match="the copy beside the target needs") as refused:
        vet_and_seal(request, Never(), lambda: world.vetter, on_verdict=lambda _: None)
    assert f"needs {total:,} bytes" in refused.value.message
    assert "another place" in refused.value.hint
    assert list((tmp_path / "out").iterdir()) == []


def test_what_fits_is_taken_in_with_its_holes(tmp_path: Path) -> None:
    """The look-alike: holes alone are no reason."""
    taken = take_in(with_holes(tmp_path, 1 << 22), copy_in(tmp_path), Wanted.SHA256)
    (file,) = [f for f in taken.snapshot.manifest if f.path == "model.safetensors"]
    assert file.size == 1 << 22


def test_room_is_what_is_free_and_not_a_byte_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Found:
        f_blocks, f_frsize, f_bfree, f_bavail = 100, 10, 5, 5

    monkeypatch.setattr("pratique.store.disk.os.statvfs", lambda _: Found)
    disk.need_room(tmp_path, 50, "it")
    with pytest.raises(StorageError, match="it needs 51 bytes, and 50 are free there"):
        disk.need_room(tmp_path, 51, "it")
    monkeypatch.setattr(Found, "f_blocks", 0)  # a file system that does not count
    disk.need_room(tmp_path, 51, "it")


class Never(OpenGate):
    def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
        pytest.fail("asked for what is refused anyway")


@pytest.mark.parametrize(
    ("limit", "said"),
    [("max_file_bytes", "'model.safetensors' has"), ("max_total_bytes", "the model has")],
)
def test_the_policys_limits_hold_for_what_was_never_fetched(
    world: World, tmp_path: Path, limit: str, said: str
) -> None:
    model = write_tiny(tmp_path / "in/tiny")
    sizes = [file.size for file in hash_tree(model)]
    (model / "model.safetensors").write_bytes(bytes(max(sizes) + 1))
    manifest = hash_tree(model)
    largest = manifest.total_size if limit == "max_total_bytes" else max(f.size for f in manifest)
    tight = limited(**{limit: largest - 1})
    request = SealRequest(model, tight, tmp_path / "out/tiny.bundle")
    with pytest.raises(SealError, match="more than the policy permits") as refused:
        vet_and_seal(request, Never(tight), lambda: world.vetter, on_verdict=lambda _: None)
    assert said in refused.value.message
    assert limit in refused.value.hint
    assert list((tmp_path / "out").iterdir()) == []
    fits = limited(**{limit: largest})
    request = SealRequest(model, fits, tmp_path / "out/tiny.bundle")
    vet_and_seal(request, OpenGate(fits), lambda: world.vetter, on_verdict=lambda _: None)


# --- who else may write there ---------------------------------------------------------------------


def shared(tmp_path: Path, mode: int) -> Path:
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(mode)
    return place


class Group:
    def __init__(self, name: str, *members: str) -> None:
        self.gr_name, self.gr_mem = name, list(members)


ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o772])
def test_a_folder_that_everybody_may_write_to(world: World, tmp_path: Path, mode: int) -> None:
    place = shared(tmp_path, mode)
    model = write_tiny(tmp_path / "in/tiny")
    request = SealRequest(model, POLICY, place / "tiny.bundle")
    with pytest.raises(SealError, match="others may write to") as refused:
        vet_and_seal(request, Never(), lambda: world.vetter, on_verdict=lambda _: None)
    assert "chmod" in refused.value.hint
    assert list(place.iterdir()) == []
    with pytest.raises(SealError, match="others may write to"):
        seal(sealing_of(model), world.vetter, place / "tiny.bundle")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("mode", [0o1777, 0o1775, 0o755, 0o700])
def test_a_sticky_folder_or_one_of_our_own(world: World, tmp_path: Path, mode: int) -> None:
    place = shared(tmp_path, mode)
    request = SealRequest(write_tiny(tmp_path / "in/tiny"), POLICY, place / "tiny.bundle")
    vet_and_seal(request, OpenGate(), lambda: world.vetter, on_verdict=lambda _: None)


def test_a_sticky_folder_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sticky or not, its owner may rename what others put there."""
    place = shared(tmp_path, 0o1777)
    if os.geteuid() == 0:
        os.chown(place, 12345, -1)
    else:
        owner = place.stat().st_uid
        monkeypatch.setattr("pratique.seal.staging.os.geteuid", lambda: owner + 1)
    with pytest.raises(SealError, match="others may write to"), private_folder(place):
        pytest.fail("entered")
    monkeypatch.undo()
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("group", "listed", "refused"),
    [
        (Group(ME), [], False),
        (Group(ME, ME), [], False),
        (Group(ME, "bob"), [], True),
        (Group("staff"), [], True),
        (Group("staff", ME), [], True),
        (Group(ME), ["system.posix_acl_access"], True),
    ],
)
def test_a_folder_that_a_group_may_write_to(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    group: Group,
    listed: list[str],
    *,
    refused: bool,
) -> None:
    """A group of one's own is nobody else: with a umask of 002 every folder is like that."""
    place = shared(tmp_path, 0o775)
    os.chown(place, -1, pwd.getpwuid(os.geteuid()).pw_gid)
    monkeypatch.setattr("pratique.seal.staging.grp.getgrgid", lambda _: group)
    monkeypatch.setattr("pratique.seal.staging.os.listxattr", lambda _: listed)
    if not refused:
        with private_folder(place):
            pass
        return
    with pytest.raises(SealError, match="others may write to"), private_folder(place):
        pytest.fail("entered")
    place.chmod(0o1775)
    with private_folder(place):
        pass


@pytest.mark.parametrize(("code", "refused"), [(errno.ENOTSUP, False), (errno.EIO, True)])
def test_a_file_system_that_has_no_access_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, *, refused: bool
) -> None:
    """FUSE, some shares: what nobody can set is not there. What cannot be read may well be."""
    place = shared(tmp_path, 0o775)
    os.chown(place, -1, pwd.getpwuid(os.geteuid()).pw_gid)

    def fail(_: object) -> list[str]:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("pratique.seal.staging.grp.getgrgid", lambda _: Group(ME))
    monkeypatch.setattr("pratique.seal.staging.os.listxattr", fail)
    if refused:
        with pytest.raises(SealError, match="others may write to"), private_folder(place):
            pytest.fail("entered")
        return
    with private_folder(place):
        pass


def test_a_folder_whose_group_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = shared(tmp_path, 0o775)

    def unknown(_: int) -> Group:
        raise KeyError

    monkeypatch.setattr("pratique.seal.staging.grp.getgrgid", unknown)
    with pytest.raises(SealError, match="others may write to"), private_folder(place):
        pytest.fail("entered")
