"""Killed, or failed by the disk, at any call that changes something: the old state or the new one."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pratique.admit.load import open_admitted
from pratique.errors import PratiqueError, UnreadableInput
from pratique.store.cas import open_store
from pratique.store.quarantine import hash_tree
from pratique.store.upkeep import check_store, collect
from tests.support.bundles import NOW, POLICY, World, make_world
from tests.support.faults import failing_at, run_and_die_at

FILES = {"config.json": b"{}\n", "sub/model.safetensors": b"weights" * 1000}
MANY = 1000  # more calls than any of these makes


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world in memory where there is such a file system: thousands of flushes cost nothing there."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield make_world(tmp_path)
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield make_world(Path(folder))


def payload_of(bundle: Path) -> str:
    return hash_tree(bundle / "payload").digest


def leftovers(world: World) -> list[str]:
    return [p.name for p in (world.root / "bundles").iterdir() if p.name.startswith(".")]


def test_seal_killed_anywhere(world: World) -> None:
    expected = payload_of(world.sealed("reference", FILES))
    target = world.root / "bundles" / "tiny.bundle"
    for at in range(1, MANY):
        shutil.rmtree(target, ignore_errors=True)
        died = run_and_die_at(at, lambda: world.sealed("tiny", FILES))
        if target.exists():
            # The final name is only ever given to a whole bundle.
            assert (target / "signatures/vetter.sig").stat().st_size > 0
            assert len(hash_tree(target / "payload")) == len(hash_tree(_reference(world)))
        if not died:
            break
        shutil.rmtree(target, ignore_errors=True)
        world.sealed("tiny", FILES)
        assert leftovers(world) == []
    else:
        pytest.fail("sealing never ended by itself")
    assert at > 20
    assert payload_of(_reference(world).parent) == expected


def _reference(world: World) -> Path:
    return world.root / "bundles" / "reference.bundle" / "payload"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_seal_failed_anywhere(world: World, code: int) -> None:
    target = world.root / "bundles" / "tiny.bundle"
    world.sealed("tiny", FILES)
    shutil.rmtree(target)
    with failing_at(0, code) as counted:
        world.sealed("tiny", FILES)
    for at in range(1, counted.count + 1):
        shutil.rmtree(target, ignore_errors=True)
        with failing_at(at, code) as fault:
            failed = _error_of(lambda: world.sealed("tiny", FILES))
        if fault.count < at:
            break
        if failed is None:
            assert (target / "payload" / "bundle.json").is_file()
        else:
            assert failed.exit_code in {6, 7}
            # The last flush is after the rename: the bundle is whole, and the caller is told.
            assert not target.exists() or fault.log[at - 1] == "fsync"
            assert code == errno.EIO or failed.exit_code == 6 or "full" in failed.message
        shutil.rmtree(target, ignore_errors=True)
        for name in leftovers(world):
            # Only where removing it was what failed.
            shutil.rmtree(world.root / "bundles" / name)


def _error_of(work: Callable[[], object]) -> PratiqueError | None:
    try:
        work()
    except PratiqueError as error:
        return error
    return None


def test_admit_killed_anywhere(world: World) -> None:
    bundle = world.bundle("tiny", FILES)
    for at in range(1, MANY):
        _empty_store(world)
        died = run_and_die_at(at, lambda: world.admit(bundle))
        assert _state(world) in {"absent", "admitted"}
        if not died:
            break
        world.admit(bundle)
        assert _state(world) == "admitted"
        store = open_store(world.home)
        collect(store)
        assert check_store(store) == []
        assert list((store.root / "tmp").iterdir()) == []
        assert len(list((store.root / "trees").iterdir())) == 1
    else:
        pytest.fail("admission never ended by itself")
    assert at > 40


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_admit_failed_anywhere(world: World, code: int) -> None:
    bundle = world.bundle("tiny", FILES)
    with failing_at(0, code) as counted:
        world.admit(bundle)
    for at in range(1, counted.count + 1):
        _empty_store(world)
        with failing_at(at, code) as fault:
            failed = _error_of(lambda: world.admit(bundle))
        assert failed is None or failed.exit_code == 7
        if fault.count < at:
            break
        assert _state(world) in {"absent", "admitted"}
        world.admit(bundle)
        assert _state(world) == "admitted"


def test_second_version_killed_anywhere(world: World) -> None:
    """The first version stays admitted and under its name until the second one is whole."""
    first = world.bundle("tiny", FILES)
    second_files = {**FILES, "config.json": b'{"v": 2}\n'}
    world.admit(first)
    first_id = _opened_id(world)
    saved = world.root / "saved-store"
    shutil.copytree(world.home / "store", saved, copy_function=os.link)
    second = world.bundle("tiny", second_files)
    second_id = world.verify(second).bundle_id
    for at in range(1, MANY):
        _empty_store(world)
        shutil.copytree(saved, world.home / "store", copy_function=os.link)
        died = run_and_die_at(at, lambda: world.admit(second))
        assert _opened_id(world) in {first_id, second_id}
        if not died:
            break
    assert _opened_id(world) == second_id


def _opened_id(world: World) -> str:
    return open_admitted(world.home, "tiny", now=NOW, policy=POLICY).bundle_id


def _state(world: World) -> str:
    try:
        _opened_id(world)
    except UnreadableInput:
        return "absent"
    return "admitted"


def _empty_store(world: World) -> None:
    store = world.home / "store"
    if store.exists():
        for folder, _, _ in os.walk(store):
            Path(folder).chmod(0o700)
        shutil.rmtree(store)
