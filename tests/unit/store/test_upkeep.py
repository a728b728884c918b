"""fsck names what is wrong and changes nothing; gc removes what nobody needs and nothing else."""

import shutil
from pathlib import Path

import pytest

from pratique.admit.admit import Naming
from pratique.admit.load import open_admitted
from pratique.errors import FormatError, UnreadableInput
from pratique.store import records
from pratique.store.cas import Store, open_store
from pratique.store.upkeep import check_store, collect, forget
from tests.support.bundles import NOW, POLICY, World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def store(world: World) -> Store:
    world.admit(world.bundle())
    return open_store(world.home)


def again(world: World) -> Path:
    """The bundle that was admitted. Sealed anew a second later it would be another one."""
    return world.root / "bundles/tiny.bundle"


def problems(store: Store) -> str:
    return "\n".join(f"{p.where}: {p.what}" for p in check_store(store))


def objects(store: Store) -> int:
    return sum(1 for p in (store.root / "objects").rglob("*") if p.is_file())


def test_sound_store(store: Store) -> None:
    assert problems(store) == ""


def test_damage_is_named_by_digest_and_by_file(world: World, store: Store) -> None:
    admitted = open_admitted(world.home, "tiny", now=NOW, policy=POLICY)
    path = admitted.model_dir / "config.json"
    path.chmod(0o644)
    path.write_bytes(b"{?}")
    path.chmod(0o444)
    said = problems(store)
    assert "its bytes are not what its name says" in said
    assert "'model/config.json' is damaged" in said


def test_writable_missing_and_extra_are_named(world: World, store: Store) -> None:
    admitted = open_admitted(world.home, "tiny", now=NOW, policy=POLICY)
    (admitted.model_dir / "README.md").chmod(0o644)
    admitted.model_dir.chmod(0o755)
    (admitted.model_dir / "config.json").unlink()
    (admitted.model_dir / "added").touch()
    said = problems(store)
    assert "is writable" in said
    assert "'model/config.json' is missing" in said
    assert "'model/added' is extra" in said


def test_damaged_record_and_dangling_name(store: Store) -> None:
    record = next(records.admissions(store))
    store.admission(record.bundle_id).write_bytes(b"{}")
    said = problems(store)
    assert "is damaged" in said
    assert "name tiny" in said


def test_stranger_among_objects(store: Store) -> None:
    folder = store.root / "objects/zz"
    folder.mkdir()
    (folder / "notes.txt").write_bytes(b"hello")
    assert "does not belong here" in problems(store)


def test_gc_keeps_what_is_admitted(world: World, store: Store) -> None:
    before = objects(store)
    done = collect(store)
    assert (done.trees, done.objects) == (0, 0)
    assert objects(store) == before
    open_admitted(world.home, "tiny", now=NOW, policy=POLICY)


def test_gc_removes_what_was_forgotten_and_keeps_shared_bytes(world: World, store: Store) -> None:
    other = world.bundle("other", {"config.json": b'{"model_type": "tiny"}\n', "only.bin": b"1"})
    world.admit(other)
    forget(store, records.resolve(store, "tiny"))
    done = collect(store)
    assert done.trees == 1
    assert done.objects > 0
    assert done.size > 0
    assert problems(store) == ""
    open_admitted(world.home, "other", now=NOW, policy=POLICY)
    with pytest.raises(UnreadableInput):
        open_admitted(world.home, "tiny", now=NOW, policy=POLICY)


def test_gc_removes_leftovers_of_a_crash(store: Store) -> None:
    tree = next((store.root / "trees").iterdir())
    shutil.copytree(tree, store.root / "trees" / f"{'0' * 64}-00000000")
    (store.root / "tmp/dead").mkdir()
    done = collect(store)
    assert done.trees == 1
    assert list((store.root / "tmp").iterdir()) == []


def test_damage_heals_when_admitted_again(world: World, store: Store) -> None:
    bundle = world.root / "bundles/tiny.bundle"
    path = open_admitted(world.home, "tiny", now=NOW, policy=POLICY).model_dir / "config.json"
    path.chmod(0o644)
    path.write_bytes(b"{?}")
    world.admit(bundle)
    collect(store)
    assert problems(store) == ""
    open_admitted(world.home, "tiny", now=NOW, policy=POLICY)


def test_every_name_of_a_forgotten_bundle_goes(world: World, store: Store) -> None:
    world.admit(world.root / "bundles/tiny.bundle", Naming("second"))
    assert len(list(records.aliases(store))) == 2
    forget(store, records.resolve(store, "tiny"))
    assert list(records.aliases(store)) == []


def rewritten(path: Path, data: bytes) -> None:
    """Another file under the same name, read-only like the one before."""
    mode = path.parent.stat().st_mode
    path.parent.chmod(0o755)
    path.unlink()
    path.write_bytes(data)
    path.chmod(0o444)
    path.parent.chmod(mode)


def test_a_file_put_in_the_place_of_a_trees_link_is_damage(world: World, store: Store) -> None:
    admitted = open_admitted(world.home, "tiny", now=NOW, policy=POLICY)
    same = (admitted.model_dir / "README.md").read_bytes()
    rewritten(admitted.model_dir / "README.md", same)  # a copy of the same bytes is no damage
    assert problems(store) == ""
    rewritten(admitted.model_dir / "config.json", b"{?}")
    assert problems(store) == "tiny@" + admitted.label[5:] + ": 'model/config.json' is damaged"


def test_two_sound_files_that_changed_places_are_damage(world: World, store: Store) -> None:
    folder = open_admitted(world.home, "tiny", now=NOW, policy=POLICY).model_dir
    folder.chmod(0o755)
    (folder / "config.json").rename(folder / "x")
    (folder / "README.md").rename(folder / "config.json")
    (folder / "x").rename(folder / "README.md")
    folder.chmod(0o555)
    said = problems(store)
    assert "'model/config.json' is damaged" in said
    assert "'model/README.md' is damaged" in said


def test_sums_that_are_not_the_bundles_are_damage(world: World, store: Store) -> None:
    sums = open_admitted(world.home, "tiny", now=NOW, policy=POLICY).model_dir.parent / "SHA256SUMS"
    rewritten(sums, sums.read_bytes().replace(b"  model/", b" *model/"))
    assert "SHA256SUMS" in problems(store) or "cannot be listed" in problems(store)


def test_strays_and_odd_folders_are_named(world: World, store: Store) -> None:
    folder = open_admitted(world.home, "tiny", now=NOW, policy=POLICY).model_dir
    folder.chmod(0o777)
    (folder / "hollow").mkdir()
    (store.root / "objects" / "stray").touch()
    (store.root / "admissions" / "stray.json").touch()
    said = problems(store).splitlines()
    assert "stray: does not belong here" in said
    assert "stray.json: does not belong here" in said
    assert any("'model/hollow' is extra" in line for line in said)
    assert any("'model' is writable by others" in line for line in said)


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_an_object_that_is_no_file_heals_when_admitted_again(
    world: World, store: Store, tmp_path: Path, kind: str
) -> None:
    admitted = open_admitted(world.home, "tiny", now=NOW, policy=POLICY)
    place = store.object(admitted.files[0].sha256)
    place.rename(tmp_path / "aside")
    if kind == "link":
        place.symlink_to(tmp_path / "aside")
    else:
        place.mkdir()
        (place / "x").touch()
    assert "is not a regular file" in problems(store)
    world.admit(again(world))
    assert problems(store) == ""


def test_a_tree_with_a_link_in_it_is_built_anew(world: World, store: Store) -> None:
    bundle = again(world)
    folder = open_admitted(world.home, "tiny", now=NOW, policy=POLICY).model_dir
    folder.chmod(0o755)
    (folder / "l").symlink_to("/etc/passwd")
    world.admit(bundle)
    assert problems(store) == ""


def test_an_empty_name_is_refused_not_replaced_by_the_bundles_own(world: World) -> None:
    with pytest.raises(FormatError, match="not a name"):
        world.admit(world.bundle(), Naming(alias=""))
