"""Killed, out of space, or misread at the kernel's own calls: the old state or the new one.

A few calls of every verb, picked with a seed, in `make test`; every one in `make test-all`.
"""

import random
from collections.abc import Callable, Iterator

import pytest

from tests.support.kernel import READING, WRITING, Ending, counted, failed_at, killed_at
from tests.support.scenes import VERBS, Scene, scene_of

SAMPLE = [pytest.param(None, marks=pytest.mark.slow), 10]
"""How many places to try: all, or so many."""
SEED = 20260


@pytest.fixture(params=VERBS)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with scene_of(request.param) as made:
        made.restore()
        made.work()  # whatever is imported or cached lazily is so now, in the children too
        yield made


def places(scene: Scene, calls: tuple[str, ...], sample: int | None) -> list[tuple[str, int]]:
    """Where to strike: system call and how often it was called by then."""
    scene.restore()
    found = [(c, n + 1) for c, count in counted(scene.work, calls).items() for n in range(count)]
    assert len(found) > 5
    return found if sample is None else random.Random(SEED).sample(found, min(sample, len(found)))


def afterwards(scene: Scene) -> None:
    """The next command finds everything sound and on the record, and the verb can be run again."""
    scene.next_command()
    scene.is_sound()
    scene.agrees()


@pytest.mark.parametrize("sample", SAMPLE)
def test_killed_at_a_call_that_writes(scene: Scene, sample: int | None) -> None:
    killed = 0
    for call, at in places(scene, WRITING, sample):
        scene.restore()
        ending = killed_at(scene.work, call, at)
        assert ending.killed or ending.code == 0, (call, at, ending)
        killed += ending.killed
        afterwards(scene)
    assert killed


def strike(
    scene: Scene, calls: tuple[str, ...], sample: int | None, error: str
) -> Iterator[tuple[tuple[str, int], Ending]]:
    for call, at in places(scene, calls, sample):
        scene.restore()
        yield (call, at), failed_at(scene.work, call, at, error)


@pytest.mark.parametrize("sample", SAMPLE)
@pytest.mark.parametrize(
    ("error", "calls"),
    [("ENOSPC", WRITING), ("EIO", WRITING), ("EIO", READING)],
    ids=["disk full", "write error", "read error"],
)
def test_failed_at_a_call(
    scene: Scene, error: str, calls: tuple[str, ...], sample: int | None
) -> None:
    for place, ending in strike(scene, calls, sample, error):
        assert not ending.killed, (place, ending)
        # Refused, or done all the same where the failure did not matter; never a bug of ours.
        assert ending.code in {0, 5, 6, 7, 11, 15}, (place, ending)
        afterwards(scene)


def test_the_injection_strikes() -> None:
    """strace does what these tests rely on: otherwise they would pass by doing nothing."""

    def work(call: Callable[[], object]) -> Callable[[], object]:
        return call

    import os

    def write() -> None:
        os.close(os.open("/dev/null", os.O_WRONLY))
        os.write(2, b"")
        os.write(2, b"")

    assert counted(work(write), WRITING)["write"] == 2
    assert killed_at(write, "write", 2).killed
    assert killed_at(write, "write", 3) == Ending(False, 0, "")
    assert failed_at(write, "write", 1, "ENOSPC").code == 7
