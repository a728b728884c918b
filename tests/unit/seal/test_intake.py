"""Taking in: hashed once into a private copy; what happens to the original afterwards is too late."""

from pathlib import Path

import pytest

from pratique.core.candidate import Candidate
from pratique.core.findings import Verdict
from pratique.core.stages import Stage
from pratique.errors import FormatError, UnreadableInput, VerificationRefused
from pratique.flows.sealing import SealRequest, vet_and_seal
from pratique.seal.intake import manifest_of, take_in
from pratique.seal.staging import private_folder
from pratique.store import disk
from pratique.store.measure import Wanted
from pratique.store.quarantine import document_bytes, hash_tree
from tests.support.bundles import FILES, NOW, POLICY, OpenGate, World, make_world, write_tiny
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
