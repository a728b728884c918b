import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pratique.core.ids import CommitSha, RepoId
from pratique.core.snapshot import Proof, SnapshotDocument, SnapshotFile
from pratique.errors import FormatError, StorageError, UnreadableInput, VerificationRefused
from pratique.store.quarantine import (
    hash_tree,
    open_snapshot,
    recorded_snapshot,
    snapshot_dir_name,
    workspace,
)
from tests.support.hub.world import MODEL, write_tree

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def document(root: Path, **changes: object) -> SnapshotDocument:
    files = tuple(
        SnapshotFile(path=f.path, size=f.size, sha256=f.sha256) for f in hash_tree(root / "model")
    )
    values: dict[str, object] = {
        "schema": "pratique.snapshot/v1",
        "name": "name",
        "kind": "hub",
        "requested": "org/name",
        "repo": "org/name",
        "commit": "1" * 40,
        "proof": "verified",
        "taken_at": NOW.isoformat(),
        "files": files,
    }
    return SnapshotDocument.model_validate({**values, **changes})


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    with workspace(tmp_path / "final") as space:
        write_tree(space.model, MODEL)
        space.write("provenance/record.json", b"{}")
        return space.finish(document(space.root / "snapshot"))


def test_a_snapshot_is_read_as_it_was_written(snapshot: Path) -> None:
    found = open_snapshot(snapshot)
    assert found.label == "name@11111111"
    assert (found.proof, found.taken_at) == (Proof.VERIFIED, NOW)
    assert {f.path for f in found.manifest} == set(MODEL)
    assert found.provenance_dir == snapshot / "provenance"
    assert recorded_snapshot(snapshot, document(snapshot)) == found


@pytest.mark.parametrize("name", sorted(MODEL))
def test_a_changed_byte_is_noticed(snapshot: Path, name: str) -> None:
    path = snapshot / "model" / name
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(VerificationRefused, match="changed"):
        open_snapshot(snapshot)


def test_a_missing_and_a_new_file_are_noticed(snapshot: Path) -> None:
    (snapshot / "model/config.json").rename(snapshot / "model/other.json")
    with pytest.raises(VerificationRefused, match="missing"):
        open_snapshot(snapshot)


def test_something_beside_the_model_is_refused(snapshot: Path) -> None:
    (snapshot / "evil.py").write_text("")
    with pytest.raises(FormatError, match=r"evil\.py"):
        open_snapshot(snapshot)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "pratique.snapshot/v2"}, {"extra": 1}, {"commit": "x"}, {"repo": "a/b/c"},
        {"name": "../x"}, {"taken_at": "yesterday"}, {"taken_at": "2026-01-01"}, {"proof": "sure"},
        {"files": [{"path": "../x", "size": 1, "sha256": "0" * 64}]},
        {"files": [{"path": "x", "size": -1, "sha256": "0" * 64}]},
        {"files": [{"path": "x", "size": 1, "sha256": "0"}]}, {"files": "x"},
        {"taken_at": "0001-01-01T00:00:00+14:00"}, {"taken_at": "9999-12-31T23:59:59-14:00"},
        {"proof": "not-applicable"}, {"kind": "local"}, {"kind": "local", "proof": "not-applicable"},
        {"repo": None}, {"commit": None}, {"kind": "hf-cache", "proof": "none"},
    ],
)  # fmt: skip
def test_a_malformed_document_is_refused(snapshot: Path, change: dict[str, object]) -> None:
    path = snapshot / "snapshot.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    with pytest.raises(FormatError):
        open_snapshot(snapshot)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"schema":1,"schema":2}', b"\xff"])
def test_a_document_that_is_no_document(snapshot: Path, body: bytes) -> None:
    (snapshot / "snapshot.json").write_bytes(body)
    with pytest.raises(FormatError):
        open_snapshot(snapshot)


def test_a_document_that_is_a_link_is_not_followed(snapshot: Path, tmp_path: Path) -> None:
    (snapshot / "snapshot.json").rename(tmp_path / "real")
    (snapshot / "snapshot.json").symlink_to(tmp_path / "real")
    with pytest.raises((StorageError, UnreadableInput)):
        open_snapshot(snapshot)


def test_a_bare_directory_is_a_local_source(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "my-model", MODEL)
    found = open_snapshot(root, now=NOW)
    assert (found.name, found.source.kind, found.proof) == (
        "my-model", "local", Proof.NOT_APPLICABLE,
    )  # fmt: skip
    assert found.provenance_dir is None
    assert found.rev8 == found.manifest.digest[:8]


def test_a_bare_directory_with_a_link_is_refused(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "m", MODEL)
    (root / "link.json").symlink_to(root / "config.json")
    with pytest.raises(FormatError, match="link"):
        open_snapshot(root)


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "m", MODEL)
    os.mkfifo(root / "weights.safetensors")
    with pytest.raises(FormatError, match="special"):
        open_snapshot(root)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput):
        open_snapshot(tmp_path / "nothing")


def test_a_half_made_snapshot_never_bears_its_name(tmp_path: Path) -> None:
    final = tmp_path / "final"
    with workspace(final) as space:
        write_tree(space.model, MODEL)
    assert not final.exists()
    with workspace(final) as again:
        assert (again.model / "config.json").exists()


def test_two_at_once_are_told_apart(tmp_path: Path) -> None:
    with (
        workspace(tmp_path / "final"),
        pytest.raises(StorageError, match="another process"),
        workspace(tmp_path / "final"),
    ):
        pass


def test_nothing_is_left_beside_a_finished_snapshot(snapshot: Path, tmp_path: Path) -> None:
    assert [p.name for p in tmp_path.iterdir()] == ["final"]


def test_directory_names_are_unambiguous() -> None:
    sha = CommitSha("1" * 40)
    assert snapshot_dir_name(RepoId("org/name"), sha) == f"org--name@{sha}"
    assert snapshot_dir_name(RepoId("name"), sha) == f"name@{sha}"


def test_bytes_are_counted_while_hashing(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "m", MODEL)
    seen: list[int] = []
    assert hash_tree(root, tick=seen.append).total_size == sum(seen)
