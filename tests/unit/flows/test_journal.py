"""The journal: an intent before the change, an event after it, and nothing lost or made up."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pratique.core.ids import BundleId, Digest
from pratique.errors import StorageError
from pratique.flows import recording
from pratique.flows.journal import Change, Journal, file_gone, file_holds, unsettled
from pratique.ledger import Ledger, open_ledger
from pratique.ledger.events import Line, Remark, Revocation, Sealed
from tests.support.scenes import recorded

BUNDLE = BundleId(Digest("ab" * 32))
OF_X = Digest("2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")


def sealed() -> Sealed:
    return Sealed(bundle=BUNDLE, name=Line("n@1"), key=Line("k"), by=Line("me"))


def revocation() -> Revocation:
    return Revocation(what=Line("admission"), subject=Line("x"), reason=Remark("r"), by=Line("me"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def ledger(home: Path) -> Iterator[Ledger]:
    with open_ledger(home) as log:
        yield log


class Died(BaseException):
    """Stands for the end of the process: nothing of the journal runs after it."""


def die_after(journal: Journal, changes: list[Change], patch: pytest.MonkeyPatch) -> None:
    """Leave an intent behind, as a process that is killed does."""
    entered = journal.change(changes)
    entered.__enter__()
    with patch.context() as dead:
        dead.setattr(Journal, "_settle_one", lambda *_: True)
        assert not entered.__exit__(Died, Died(), None)


def test_done_and_recorded(home: Path, ledger: Ledger, tmp_path: Path) -> None:
    journal = Journal(home, ledger)
    with journal.change([Change(sealed(), file_holds(tmp_path / "f", OF_X))]):
        assert unsettled(home)
        (tmp_path / "f").write_bytes(b"x")
    assert not unsettled(home)
    assert recorded(home)["sealed"] == 1
    assert journal.settle() == 0


@pytest.mark.parametrize(
    "name", [b"a b", b"100%", b"%2Ftmp", "schön".encode(), b"\xff", b"%41\xff"]
)
def test_any_name_that_a_medium_may_have(
    home: Path, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    """A name whose bytes are no UTF-8 is found again like any other."""
    journal, medium = Journal(home, ledger), tmp_path / os.fsdecode(name)
    medium.mkdir()
    file = medium / "f"
    die_after(journal, [Change(sealed(), file_holds(file, OF_X, medium=medium))], monkeypatch)
    file.write_bytes(b"x")
    medium.rename(tmp_path / "away")
    assert journal.settle() == 0  # nobody can tell
    assert unsettled(home)
    (tmp_path / "away").rename(medium)
    assert journal.settle() == 1
    assert recorded(home)["sealed"] == 1
    file.unlink()
    with journal.change([Change(revocation(), file_gone(file))]):
        pass
    assert recorded(home)["revocation"] == 1


def test_killed_before_the_change(
    home: Path, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(home, ledger)
    die_after(journal, [Change(sealed(), file_holds(tmp_path / "f", OF_X))], monkeypatch)
    assert journal.settle() == 1
    assert recorded(home)["sealed"] == 0
    (tmp_path / "f").write_bytes(b"x")  # by somebody else, later
    assert journal.settle() == 0
    assert recorded(home)["sealed"] == 0


def test_killed_after_the_change(
    home: Path, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(home, ledger)
    die_after(journal, [Change(sealed(), file_holds(tmp_path / "f", OF_X))], monkeypatch)
    (tmp_path / "f").write_bytes(b"x")
    recording.settle(home)
    assert recorded(home)["sealed"] == 1
    assert not unsettled(home)


def test_half_of_it_was_done(
    home: Path, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "g").write_bytes(b"x")
    changes = [
        Change(sealed(), file_holds(tmp_path / "f", OF_X)),
        Change(revocation(), file_gone(tmp_path / "g")),
    ]
    journal = Journal(home, ledger)
    die_after(journal, changes, monkeypatch)
    (tmp_path / "f").write_bytes(b"x")
    journal.settle()
    assert (recorded(home)["sealed"], recorded(home)["revocation"]) == (1, 0)


def test_it_failed_half_way(home: Path, ledger: Ledger, tmp_path: Path) -> None:
    changes = [
        Change(sealed(), file_holds(tmp_path / "f", OF_X)),
        Change(revocation(), file_holds(tmp_path / "g", OF_X)),
    ]
    journal = Journal(home, ledger)
    work = journal.change(changes)
    work.__enter__()
    (tmp_path / "f").write_bytes(b"x")
    assert not work.__exit__(StorageError, StorageError("full"), None)
    assert not unsettled(home)
    assert (recorded(home)["sealed"], recorded(home)["revocation"]) == (1, 0)


def test_it_looked_like_that_before(
    home: Path, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"x")
    journal = Journal(home, ledger)
    die_after(journal, [Change(sealed(), file_holds(tmp_path / "f", OF_X))], monkeypatch)
    journal.settle()
    assert recorded(home)["sealed"] == 0


def test_a_medium_that_was_taken_out(
    home: Path, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium = tmp_path / "stick"
    medium.mkdir()
    mark = file_holds(medium / "b/f", OF_X, medium=medium)
    journal = Journal(home, ledger)
    die_after(journal, [Change(sealed(), mark)], monkeypatch)
    (medium / "b").mkdir()
    (medium / "b/f").write_bytes(b"x")
    medium.rename(tmp_path / "pocket")
    assert journal.settle() == 0
    assert unsettled(home)  # nobody can tell; nothing is claimed
    assert recorded(home)["sealed"] == 0
    (tmp_path / "pocket").rename(medium)
    for _ in range(2):
        journal.settle()
        assert recorded(home)["sealed"] == 1
    assert not unsettled(home)


@pytest.mark.parametrize(
    "put",
    [
        os.mkfifo,
        Path.mkdir,
        lambda path: path.symlink_to(path.parent.parent / "pocket"),
        lambda path: path.symlink_to(path),
        lambda path: (path.touch(), os.truncate(path, 2**40)),
        lambda path: path.parent.rmdir() or path.parent.write_bytes(b"x"),
    ],
    ids=["fifo", "folder", "link", "loop", "endless", "parent"],
)
def test_what_lies_on_the_medium_stops_nothing_and_claims_nothing(
    home: Path, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put
) -> None:
    (tmp_path / "stick/b").mkdir(parents=True)
    (tmp_path / "stick/pocket").write_bytes(b"x")
    place = tmp_path / "stick/b/f"
    journal = Journal(home, ledger)
    mark = file_holds(place, OF_X, medium=tmp_path / "stick")
    die_after(journal, [Change(sealed(), mark)], monkeypatch)
    put(place)
    assert journal.settle() == 1
    assert recorded(home)["sealed"] == 0


def intent(**fields: object) -> str:
    mark = {"mark": "file", "path": "/x", "sha256": None}
    one = {"kind": "sealed", "fields": fields, "mark": mark, "already": False}
    return json.dumps({"schema": "pratique.intent/v1", "size": 0, "intended": [one]})


DAMAGED = (
    '{"schema":"pratique.intent/v1"',
    intent(odd=1),
    intent(bundle="x", name="n@1", key="k", by="me"),
)


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_intent_is_not_passed_over(home: Path, ledger: Ledger, text: str) -> None:
    folder = home / "ledger/intents"
    folder.mkdir()
    (folder / "x.json").write_text(text)
    with pytest.raises(StorageError, match="damaged"):
        Journal(home, ledger).settle()
    with pytest.raises(StorageError, match="damaged"), recording.recording(home):
        pytest.fail("something could be done that would not be recorded")


def test_nothing_is_done_that_cannot_be_recorded(home: Path, ledger: Ledger) -> None:
    journal = Journal(home, ledger)
    journal.settle()
    (home / "ledger/intents").touch()  # no folder can be made here
    done = []
    with (
        pytest.raises(StorageError),
        journal.change([Change(revocation(), file_gone(home / "x"))]),
    ):
        done.append(1)
    assert done == []
    shutil.rmtree(home / "ledger/intents", ignore_errors=True)


def test_events_of_changes_bear_an_id(home: Path, ledger: Ledger, tmp_path: Path) -> None:
    journal = Journal(home, ledger)
    for name in ("f", "g"):
        with journal.change([Change(sealed(), file_holds(tmp_path / name, OF_X))]):
            (tmp_path / name).write_bytes(b"x")
    assert len(journal._operations(0) - {"None"}) == 2
