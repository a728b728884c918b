"""A disk that is really full: nothing under the final name, one clear line, what was there stays."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from pratique.errors import StorageError, UnreadableInput
from pratique.seal.seal import seal
from pratique.store.cas import open_store
from pratique.store.records import admissions
from tests.support.bundles import World, make_world, sealing_of, write_tiny

BIG = {"model.safetensors": os.urandom(3 * 2**20), "config.json": b"{}\n"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def message_with_room_for(limit: int, work: Callable[[], object]) -> str:
    """Run `work` in a child that cannot make a file of more than `limit` bytes; its refusal."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            said = "nothing was refused"
            try:
                work()
            except StorageError as error:
                said = error.message
            os.write(writer, said.encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        return pipe.read().decode()


def test_seal_on_a_full_disk(world: World) -> None:
    write_tiny(world.root / "models" / "big", BIG)
    said = message_with_room_for(2**20, lambda: world.sealed("big", {"config.json": b"{}\n"}))
    assert "the disk is full" in said
    assert "model.safetensors" in said
    assert list((world.root / "bundles").iterdir()) == []
    assert world.sealed("big", BIG).is_dir()


def test_admit_on_a_full_disk(world: World) -> None:
    first = world.bundle("small", {"config.json": b"{}\n"})
    world.admit(first)
    big = world.bundle("big", BIG)
    said = message_with_room_for(2**20, lambda: world.admit(big))
    assert "the disk is full" in said
    store = open_store(world.home)
    assert [record.name for record in admissions(store)] == ["small"]
    assert list((store.root / "tmp").iterdir()) == []
    world.admit(big)


def test_nothing_was_ever_admitted(world: World) -> None:
    with pytest.raises(UnreadableInput, match="no store"):
        open_store(world.home)


def test_target_that_cannot_be_made(world: World) -> None:
    """A folder that cannot be made is an I/O error, not a bug."""
    target = write_tiny(world.root / "blocker", {"file": b""}) / "file" / "tiny.bundle"
    with pytest.raises(StorageError, match="could not be written"):
        seal(sealing_of(write_tiny(world.root / "tiny")), world.vetter, target)


def test_a_file_of_a_bundle_that_was_made_huge_does_not_fill_the_disk(world: World) -> None:
    """By holes: on the medium it takes no room, in the store it would."""
    bundle = world.bundle("tiny")
    weights = bundle / "payload/model/model.safetensors"
    whole = weights.read_bytes()
    found = os.statvfs(world.root)
    with weights.open("r+b") as file:
        file.truncate(found.f_frsize * found.f_bfree + (1 << 30))
    with pytest.raises(StorageError, match="what the store lacks of the bundle needs") as refused:
        world.admit(bundle)
    assert "nothing of it was written" in refused.value.hint
    assert not list(open_store(world.home).root.rglob("objects/*/*"))
    with weights.open("r+b") as file:
        file.truncate(len(whole))
    assert world.admit(bundle).label
