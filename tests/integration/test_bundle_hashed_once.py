"""Unchanged files are read through, and so hashed, once in one command; where twice, on purpose."""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.bundles import World, make_world
from tests.support.models import Sizes, write_model
from tests.support.reads import bytes_read

WEIGHTS = "model.safetensors"


class Counted:
    """Runs commands, and says how often the weights were read through: at the source, and copies."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder
        self._runs = 0
        self.size = 0

    def __call__(self, *arguments: object) -> Counter[str]:
        """How often the weights were read, by which copy of them, rounded; fewer than half is none."""
        self._runs += 1
        logs = self._folder / f"strace-{self._runs}"
        found = bytes_read(logs, "--home", self._world.home, *arguments)
        times: Counter[str] = Counter()
        for path, count in found.items():
            # What is in the store lies there under its digest, too, as the same file.
            if path.endswith(WEIGHTS) or (count > self.size / 2 and "/objects/" in path):
                times[_kind(path)] += round(count / self.size)
        return +times


def _kind(path: str) -> str:
    for part, kind in (("/store/", "store"), (".bundle/", "bundle"), (".pratique-", "taken in")):
        if part in path:
            return kind
    return "source"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("once"))


def test_each_command(world: World, tmp_path: Path) -> None:
    model = write_model(tmp_path / "big", sizes=Sizes(hidden=512, intermediate=1024))
    once = Counted(world, tmp_path)
    once.size = (model / WEIGHTS).stat().st_size
    assert once.size > 4 * 2**20, "too small to tell headers from the whole"
    bundle = tmp_path / "big.bundle"

    assert once("seal", model, "--key", world.root / "vera.key", "-o", bundle) == {"source": 1}
    assert once("seal", model, "--check", bundle) == {"source": 1, "bundle": 1}
    # On a medium the bytes may change between two readings: the gate must see those that are signed.
    assert once("approve", bundle, "--key", world.root / "anton.key") == {"bundle": 2}
    assert once("verify", bundle) == {"bundle": 1}
    assert once("admit", bundle) == {"bundle": 1}
    # What is in the store already is hashed too before it is believed: another file, once.
    assert once("admit", bundle) == {"bundle": 1, "store": 1}
    assert once("fsck") == {"store": 1}
    assert once("fetch", model, "--into", tmp_path / "snapshot") == {"source": 1}
