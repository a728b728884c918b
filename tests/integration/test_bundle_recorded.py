"""Killed between a change and its event: the next command records what was done, once, and no more."""

import contextlib
import errno
from collections.abc import Iterator

import pytest

from pratique.errors import PratiqueError
from tests.support.faults import failing_at, run_and_die_at
from tests.support.scenes import VERBS, Scene, scene_of

MANY = 1000  # more calls than any of these makes
EVERY = [pytest.param(1, marks=pytest.mark.slow), 7]
"""Every call, or, to be quick, every seventh."""


@pytest.fixture(params=VERBS)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with scene_of(request.param) as made:
        yield made


@pytest.mark.parametrize("step", EVERY)
def test_killed_anywhere(scene: Scene, step: int) -> None:
    for at in range(1, MANY, step):
        scene.restore()
        died = run_and_die_at(at, scene.work)
        scene.next_command()
        scene.agrees()
        scene.next_command()
        scene.agrees()
        assert not list((scene.world.home / "ledger").glob("intents/*.json"))
        if not died:
            break
    else:
        pytest.fail("it never ended by itself")
    assert at > 20


@pytest.mark.parametrize("step", EVERY)
def test_failed_anywhere(scene: Scene, step: int) -> None:
    with failing_at(0, errno.ENOSPC) as counted:
        scene.restore()
        scene.work()
    for at in range(1, counted.count + 1, step):
        scene.restore()
        with failing_at(at, errno.ENOSPC), contextlib.suppress(PratiqueError, OSError):
            scene.work()
        scene.next_command()
        scene.agrees()
