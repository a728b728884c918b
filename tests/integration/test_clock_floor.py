"""A clock that was set back is noticed by what the ledger already holds, and stays noticed."""

import time
from pathlib import Path

import pytest

from pratique.ledger.folder import Folder
from pratique.ledger.ledger import Ledger
from pratique.ledger.signer import key_signer
from tests.support.bundles import World, make_world
from tests.support.cli import run_cli
from tests.support.ledgers import request

DAY_MS = 86_400_000


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def served(world: World, ahead_ms: int) -> None:
    """The ledger holds a request from when the clock said something else than now."""
    now = time.time_ns() // 1_000_000
    with Ledger.open(
        world.home / "ledger",
        key_signer(world.home / "keys/ledger.key"),
        clock_ms=lambda: now + ahead_ms,
    ) as log:
        log.append(request())


def pratique(world: World, *arguments: object) -> tuple[int, str]:
    code, _, err = run_cli("--home", str(world.home), *map(str, arguments))
    return code, err


@pytest.mark.parametrize(
    "verb",
    [("verify", "x.bundle"), ("admit", "x.bundle"), ("serve", "x"), ("list",), ("show", "x")],
)
def test_set_back_behind_the_ledger(world: World, verb: tuple[str, ...]) -> None:
    served(world, 3 * DAY_MS)
    code, err = pratique(world, *verb)
    assert code == 11
    assert "clock ran backwards" in err


def test_it_stays_noticed_when_the_ledger_goes_on(world: World, tmp_path: Path) -> None:
    served(world, 3 * DAY_MS)
    bundle = world.bundle()
    model = world.root / "models/tiny"
    pratique(world, "vet", model)  # records, with the wrong time
    last = Folder(world.home / "ledger").segments()[-1].path
    assert b"vetting" in last.read_bytes()
    (world.home / "ledger").rename(tmp_path / "moved-away")
    code, err = pratique(world, "verify", bundle, "--policy", "standard")
    assert code == 11
    assert "clock ran backwards" in err


def test_a_clock_that_differs_a_little(world: World) -> None:
    served(world, 60_000)
    code, err = pratique(world, "list")
    assert code == 0, err


def test_revoking_goes_on(world: World) -> None:
    served(world, 3 * DAY_MS)
    code, err = pratique(world, "revoke", "--key", "ab" * 32, "--reason", "lost")
    assert code == 0, err


def test_what_is_no_event_has_no_time(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.last_time_ms() is None
    folder.segments_dir.mkdir()
    lines = b'{"time":5}\n{"time":9}\n{"time":"x"}\n[]\nnonsense\n{"time":7}\n{"time":99}'
    folder.segment(0).path.write_bytes(lines)  # the last line is torn
    assert folder.last_time_ms() == 9
