"""Sealing: byte for byte, reproducible, whole or not there."""

import fcntl
import json
import shutil
from pathlib import Path

import pytest

from pratique.core.bundle import AbsentFile
from pratique.core.ids import Digest, RelPath
from pratique.core.manifest import FileEntry, Manifest
from pratique.errors import SealError
from pratique.flows.sealing import unneeded
from pratique.formats.bundle import parse_bundle_document
from pratique.seal import seal as sealing_module
from pratique.seal import staging
from pratique.seal.seal import SealedBundle, recompute, seal
from pratique.seal.staging import staging_for
from pratique.store.quarantine import hash_tree
from tests.support.bundles import (
    FILES,
    FIPS,
    NOW,
    POLICY,
    World,
    make_world,
    sealing_of,
    write_tiny,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("seal"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny")


def sealed(world: World, model: Path, target: Path, **changes: object) -> SealedBundle:
    return seal(sealing_of(model, **changes), world.vetter, target)  # type: ignore[arg-type]


def test_model_is_carried_byte_for_byte(world: World, model: Path, tmp_path: Path) -> None:
    bundle = sealed(world, model, tmp_path / "tiny.bundle")
    for name, data in FILES.items():
        path = bundle.path / "payload/model" / name
        assert path.read_bytes() == data
        assert path.stat().st_mode & 0o777 == 0o644
    assert bundle.document.subject == hash_tree(model).digest
    assert bundle.label == f"tiny@{hash_tree(model).digest[:8]}"


def test_same_input_gives_the_same_bytes(world: World, model: Path, tmp_path: Path) -> None:
    one = sealed(world, model, tmp_path / "one.bundle")
    two = sealed(world, model, tmp_path / "two.bundle")
    assert hash_tree(one.path / "payload") == hash_tree(two.path / "payload")
    assert one.bundle_id == two.bundle_id


def test_signature_covers_the_payload_and_sums_name_the_bundle(
    world: World, model: Path, tmp_path: Path
) -> None:
    import base64
    import hashlib

    bundle = sealed(world, model, tmp_path / "tiny.bundle")
    envelope = json.loads((bundle.path / "signatures/vetter.sig").read_bytes())["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    listed = {r["name"]: r["digest"] for r in statement["predicate"]["resources"]}
    assert listed == {f.path: f.sha256 for f in hash_tree(bundle.path / "payload")}
    sums = (bundle.path / "payload/SHA256SUMS").read_bytes()
    assert hashlib.sha256(sums).hexdigest() == bundle.bundle_id


def test_recompute_gives_what_sealing_gives(world: World, model: Path, tmp_path: Path) -> None:
    sealing = sealing_of(model)
    expected = dict(recompute(sealing))
    bundle = seal(sealing, world.vetter, tmp_path / "tiny.bundle")
    found = {f.path: f.sha256 for f in hash_tree(bundle.path / "payload")}
    found.pop(RelPath("SHA256SUMS"))
    assert expected == found


def test_fips_writes_no_blake3(world: World, model: Path, tmp_path: Path) -> None:
    bundle = seal(sealing_of(model, FIPS), world.vetter, tmp_path / "tiny.bundle")
    assert bundle.document.chunking is None
    assert all(file.chunks == () for file in bundle.document.files)


def test_file_that_changed_since_vetting_is_refused(
    world: World, model: Path, tmp_path: Path
) -> None:
    sealing = sealing_of(model)
    (model / "config.json").write_bytes(b'{"model_type": "evil"}\n')
    target = tmp_path / "tiny.bundle"
    with pytest.raises(SealError, match=r"model/config\.json.*no longer"):
        seal(sealing, world.vetter, target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny"]


def test_file_that_appeared_since_vetting_is_not_carried(
    world: World, model: Path, tmp_path: Path
) -> None:
    sealing = sealing_of(model)
    (model / "late.bin").write_bytes(b"late")
    bundle = seal(sealing, world.vetter, tmp_path / "tiny.bundle")
    assert not (bundle.path / "payload/model/late.bin").exists()


def test_file_swapped_for_a_link_is_refused(world: World, model: Path, tmp_path: Path) -> None:
    sealing = sealing_of(model)
    copy = tmp_path / "copy.json"
    shutil.copy(model / "config.json", copy)
    (model / "config.json").unlink()
    (model / "config.json").symlink_to(copy)
    with pytest.raises(Exception, match="link"):
        seal(sealing, world.vetter, tmp_path / "tiny.bundle")


def test_existing_target_is_not_overwritten(world: World, model: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny.bundle"
    target.mkdir()
    with pytest.raises(SealError, match="exists"):
        sealed(world, model, target)
    assert list(target.iterdir()) == []


def test_target_that_appears_meanwhile_is_not_overwritten(
    world: World, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "tiny.bundle"
    real = sealing_module.sign_payload

    def meanwhile(*args: object, **rest: object) -> bytes:
        target.mkdir()
        (target / "somebody else's").touch()
        return real(*args, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(sealing_module, "sign_payload", meanwhile)
    with pytest.raises(SealError, match="exists"):
        sealed(world, model, target)
    assert [p.name for p in target.iterdir()] == ["somebody else's"]
    assert not list(tmp_path.glob(".*"))


def test_what_a_killed_process_left_is_removed(world: World, model: Path, tmp_path: Path) -> None:
    left = tmp_path / ".tiny.bundle.sealing"
    (left / "payload").mkdir(parents=True)
    (left / "payload/half").write_bytes(b"half")
    bundle = sealed(world, model, tmp_path / "tiny.bundle")
    assert not left.exists()
    assert not (bundle.path / "payload/half").exists()


def test_two_that_begin_in_the_same_moment_are_refused_by_name(
    world: World, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / ".tiny.bundle.sealing"
    monkeypatch.setattr(staging, "_clear", lambda _: other.mkdir())
    with pytest.raises(SealError, match="another process"):
        sealed(world, model, tmp_path / "tiny.bundle")
    assert other.is_dir()


def test_a_folder_that_another_made_anew_is_not_taken_for_ours(
    world: World, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".tiny.bundle.sealing"
    lock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        if folder.is_dir():
            folder.rename(tmp_path / ".ours")
            folder.mkdir()
            (folder / "theirs").touch()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(SealError, match="another process"):
        sealed(world, model, tmp_path / "tiny.bundle")
    assert [p.name for p in folder.iterdir()] == ["theirs"]


def test_two_at_once_are_refused(world: World, model: Path, tmp_path: Path) -> None:
    target = tmp_path / "tiny.bundle"
    with staging_for(target), pytest.raises(SealError, match="another process"):
        sealed(world, model, target)
    sealed(world, model, target)


def test_git_files_are_kept_beside_the_model(world: World, tmp_path: Path) -> None:
    files = {
        **FILES,
        ".gitattributes": b"*.bin lfs\n",
        "sub/.gitignore": b"*\n",
        ".github/x.yml": b"x",
    }
    model = write_tiny(tmp_path / "tiny", files)
    bundle = sealed(world, model, tmp_path / "tiny.bundle")
    assert not [p for p in (bundle.path / "payload").rglob("*") if ".git" in p.name]
    kept = {a.path: a.kept for a in bundle.document.aside}
    assert set(kept) == {".gitattributes", "sub/.gitignore", ".github/x.yml"}
    place = kept[RelPath(".gitattributes")]
    assert place is not None
    assert (bundle.path / "payload" / place).read_bytes() == b"*.bin lfs\n"
    assert bundle.document.vetted().digest == hash_tree(model).digest


def test_git_files_with_the_same_bytes(world: World, tmp_path: Path) -> None:
    files = {**FILES, ".gitattributes": b"same\n", "sub/.gitattributes": b"same\n"}
    bundle = sealed(world, write_tiny(tmp_path / "tiny", files), tmp_path / "tiny.bundle")
    assert len({a.kept for a in bundle.document.aside}) == 1


def test_names_that_only_look_like_git_stay(world: World, tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "tiny", {**FILES, "git.txt": b"x", "a.gitx": b"y"})
    bundle = sealed(world, model, tmp_path / "tiny.bundle")
    assert bundle.document.aside == ()
    assert (bundle.path / "payload/model/git.txt").exists()


def test_left_behind_is_listed(world: World, model: Path, tmp_path: Path) -> None:
    bundle = sealed(
        world,
        model,
        tmp_path / "tiny.bundle",
        left_behind={RelPath("empty.txt"): "nothing loads it"},
    )
    (entry,) = bundle.document.aside
    assert (entry.path, entry.kept, entry.reason) == ("empty.txt", None, "nothing loads it")
    assert not (bundle.path / "payload/model/empty.txt").exists()


def test_absent_files_of_the_commit_are_listed(world: World, model: Path, tmp_path: Path) -> None:
    absent = (AbsentFile(path="pytorch_model.bin", git_id=None),)
    bundle = sealed(world, model, tmp_path / "tiny.bundle", absent=absent)
    assert bundle.document.absent == absent


def test_local_paths_are_not_told(world: World, model: Path, tmp_path: Path) -> None:
    bundle = sealed(world, model, tmp_path / "tiny.bundle")
    data = (bundle.path / "payload/bundle.json").read_bytes()
    assert str(tmp_path).encode() not in data
    assert parse_bundle_document(data) == bundle.document


def test_verdict_under_another_policy_is_misuse(model: Path) -> None:
    sealing = sealing_of(model, POLICY)
    with pytest.raises(RuntimeError, match="another policy"):
        type(sealing)(sealing.vetted, FIPS, NOW, {}, {})


def test_evidence_name_that_climbs_is_refused(world: World, model: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"'\.\.'"):
        sealed(world, model, tmp_path / "tiny.bundle", evidence={"../bundle.json": b"{}"})
    assert not (tmp_path / "tiny.bundle").exists()


def test_what_nothing_loads_stays_behind() -> None:
    files = [
        "config.json", "model.safetensors", "tokenizer.json", "README.md", "LICENSE", "docs/use.md",
        "logo.png", "custom.json", "data.csv",
        "pytorch_model.bin", "onnx/model.onnx", "flax_model.msgpack", "tf_model.h5",
        "openvino_model.bin", "runs/events.out.tfevents.1", "demo.ipynb", "train.sh",
    ]  # fmt: skip
    manifest = Manifest.of(FileEntry(RelPath(f), 1, Digest("ab" * 32)) for f in files)
    assert set(unneeded(manifest)) == set(files[9:])
    without = Manifest.of(f for f in manifest if not f.path.endswith(".safetensors"))
    assert set(unneeded(without)) == set(files[13:])
