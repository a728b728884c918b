"""What `verify` says, word for word, about each thing that can happen to a log."""

import os
import shutil

import pytest

from pratique.errors import FormatError, LedgerNotIntact, PratiqueError, UnreadableInput
from pratique.ledger.folder import Folder
from pratique.ledger.note import LogKey
from pratique.ledger.verify import State, verify
from tests.support.ledgers import open_log, private_key, request, write_log


@pytest.fixture
def log(tmp_path):
    """Twenty events in one segment, with checkpoints at 0, 5, 10, 15 and 20."""
    return write_log(tmp_path / "log", 20, checkpoint_events=5)


def lines_of(folder):
    return folder.segments()[0].path.read_bytes().splitlines(keepends=True)


def put(folder, lines):
    folder.segments()[0].path.write_bytes(b"".join(lines))


def found(folder, **given):
    report = verify(folder, **given)
    return report.state, report.at, report.summary


def test_intact(log):
    assert found(log) == (State.INTACT, None, "intact: 20 events, all sealed")
    assert verify(log).checkpoints == 5
    assert found(log, elsewhere=[log.note(10)])[0] is State.INTACT


def test_unsealed_tail(log):
    running = open_log(log.root)
    running.append(request(20))
    running.append(request(21))
    state, at, summary = found(log)
    assert (state, at) == (State.UNSEALED_TAIL, 20)
    assert summary == "intact up to 20, unsealed tail of 2 events"
    running.close()


@pytest.mark.parametrize("number", [0, 7, 19])
def test_edited(log, number):
    lines = lines_of(log)
    lines[number] = lines[number].replace(b'"status":200', b'"status":500')
    put(log, lines)
    assert found(log)[:2] == (State.EDITED, number)


@pytest.mark.parametrize("number", [0, 7, 18])
def test_an_edit_with_its_fingerprint_made_to_fit_is_still_edited_there(log, tmp_path, number):
    other = tmp_path / "other"
    with open_log(other) as forger:
        for i in range(number):
            forger.append(request(i))
        forger.append(request(number, status=500))
    lines = lines_of(log)
    lines[number] = lines_of(Folder(other))[number]
    put(log, lines)
    assert found(log)[:2] == (State.EDITED, number)


def test_deleted_inserted_and_swapped_events_are_edits(log):
    lines = lines_of(log)
    put(log, lines[:7] + lines[8:])
    assert found(log)[:2] == (State.EDITED, 7)
    put(log, [*lines[:7], lines[6], *lines[7:]])
    assert found(log)[:2] == (State.EDITED, 7)
    put(log, [*lines[:7], lines[8], lines[7], *lines[9:]])
    assert found(log)[:2] == (State.EDITED, 7)
    put(log, [*lines[:7], b"\n", *lines[7:]])
    assert found(log)[:2] == (State.EDITED, 7)


@pytest.mark.parametrize("left", [0, 1, 12, 15, 19])
def test_truncated(log, left):
    put(log, lines_of(log)[:left])
    state, at, summary = found(log)
    assert (state, at) == (State.TRUNCATED, left)
    assert summary == (f"truncated after {left} events: 20 were signed, {20 - left} are missing")


def test_truncated_in_the_middle_of_a_line(log):
    path = log.segments()[0].path
    path.write_bytes(path.read_bytes()[:-1])
    assert found(log)[:2] == (State.TRUNCATED, 19)


def test_truncated_with_its_checkpoints_shows_against_a_copy_only(log):
    copy = log.note(20)
    put(log, lines_of(log)[:10])
    for size in (15, 20):
        (log.checkpoints_dir / f"{size:020d}").unlink()
    assert found(log)[0] is State.INTACT
    assert found(log, elsewhere=[copy])[:2] == (State.TRUNCATED, 10)


def other_history(directory, count, *, from_event=0, seed=1):
    """Another log by the same key that is the same up to an event."""
    with open_log(directory, seed=seed, checkpoint_events=5) as forger:
        for number in range(count):
            forger.append(request(number, status=200 if number < from_event else 404))
    return Folder(directory)


def test_rewritten(log, tmp_path):
    put(log, lines_of(other_history(tmp_path / "other", 20, from_event=12)))
    state, at, summary = found(log)
    assert (state, at) == (State.REWRITTEN, 15)
    assert summary == "rewritten: events 10 to 14 are not those that were signed"


def test_rewritten_without_checkpoints_shows_against_a_copy(log, tmp_path):
    copy = log.note(10)
    put(log, lines_of(other_history(tmp_path / "other", 20)))
    for size in (5, 10, 15, 20):
        (log.checkpoints_dir / f"{size:020d}").unlink()
    state, at, summary = found(log, elsewhere=[copy])
    assert (state, at) == (State.REWRITTEN, 10)
    assert "kept elsewhere" in summary


@pytest.mark.parametrize("size", [10, 12])
def test_forked(log, tmp_path, size):
    forged = other_history(tmp_path / "other", 20)
    with open_log(tmp_path / "log") as honest:
        copy = honest.checkpoint() if size == 20 else log.note(10)
    if size == 12:  # a checkpoint of a size that the fork has none for
        honest = write_log(tmp_path / "honest", 12)
        copy = honest.note(12)
    state, at, summary = found(forged, elsewhere=[copy])
    assert (state, at) == (State.FORKED, size)
    assert summary.startswith("forked")


def test_two_copies_that_differ_are_a_fork(log, tmp_path):
    forged = other_history(tmp_path / "other", 20)
    assert found(log, elsewhere=[log.note(10), forged.note(10)])[:2] == (State.FORKED, 10)
    assert found(log, elsewhere=[log.note(10), log.note(10)])[0] is State.INTACT


def test_a_changed_checkpoint_is_named(log):
    path = log.checkpoints_dir / f"{10:020d}"
    path.write_bytes(path.read_bytes().replace(b"\n10\n", b"\n11\n"))
    assert found(log)[:2] == (State.CHECKPOINT, 10)
    shutil.copy(log.checkpoints_dir / f"{15:020d}", path)
    assert found(log)[:2] == (State.CHECKPOINT, 10)


def test_a_copy_that_is_not_this_logs_is_refused(log, tmp_path):
    other = write_log(tmp_path / "other", 3, seed=2)
    with pytest.raises(LedgerNotIntact, match="cannot be used"):
        verify(log, elsewhere=[other.note(3)])
    with pytest.raises(LedgerNotIntact, match="cannot be used"):
        verify(log, elsewhere=[b"hello"])


def test_the_pinned_key_must_be_the_logs(log):
    mine = log.key()
    assert verify(log, key=mine).stands
    other = LogKey(mine.name, private_key(2).public_key().public_bytes_raw())
    with pytest.raises(LedgerNotIntact, match="key that was given"):
        verify(log, key=other)


def test_no_log_is_no_answer(tmp_path):
    with pytest.raises(UnreadableInput, match="no ledger"):
        verify(Folder(tmp_path))
    (tmp_path / "log.vkey").write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(FormatError):
        verify(Folder(tmp_path))


# --- several segments ------------------------------------------------------------------------------


@pytest.fixture
def long_log(tmp_path):
    return write_log(tmp_path / "long", 60, segment_bytes=10_000)


def test_a_missing_segment_is_found(long_log):
    segments = long_log.segments()
    segments[2].path.unlink()
    assert found(long_log)[:2] == (State.EDITED, segments[2].first)


def test_missing_first_segments_without_retention_are_found(long_log):
    segments = long_log.segments()
    segments[0].path.unlink()
    state, at, summary = found(long_log)
    assert (state, at) == (State.EDITED, 0)
    assert "no event says that they may be" in summary


def test_missing_last_segments_are_a_truncation(long_log):
    *_, before, last = long_log.segments()
    last.path.unlink()
    before.path.unlink()
    assert found(long_log)[:2] == (State.TRUNCATED, before.first)


def test_a_renamed_segment_is_found(long_log):
    first = long_log.segments()[1]
    first.path.rename(long_log.segment(first.first + 1).path)
    assert found(long_log)[0] is State.EDITED


def test_a_line_that_lost_its_end_in_a_sealed_segment_is_found(long_log):
    path = long_log.segments()[0].path
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    assert found(long_log)[0] is State.EDITED


@pytest.mark.parametrize("damage", ["bent", "missing", "checkpoint"])
def test_after_retention_the_rest_hangs_on_a_signed_root(long_log, damage):
    segments = long_log.segments()
    with open_log(long_log.root, segment_bytes=10_000) as writer:
        writer.retain(segments[2].first, by="uid:0")
    assert verify(long_log).state is State.INTACT
    base = long_log.segments()[0].base_path
    if damage == "bent":
        base.write_bytes(base.read_bytes().replace(b'["', b'["00', 1))
    elif damage == "missing":
        base.unlink()
    else:
        (long_log.checkpoints_dir / f"{segments[2].first:020d}").unlink()
    assert found(long_log)[0] is State.EDITED


# --- other things than files -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["directory", "pipe"])
@pytest.mark.parametrize("part", ["segment", "checkpoint", "key"])
def test_what_is_no_file_is_refused_and_nobody_waits_for_it(log, kind, part):
    path = {
        "segment": log.segments()[0].path,
        "checkpoint": log.checkpoints_dir / f"{20:020d}",
        "key": log.root / "log.vkey",
    }[part]
    path.unlink()
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    with pytest.raises(UnreadableInput):
        verify(log)
    with pytest.raises(PratiqueError):
        open_log(log.root)


def test_a_line_without_end_costs_no_memory(log):
    with log.segments()[0].path.open("ab") as file:
        file.write(b"x" * 3_000_000)
    assert found(log)[:2] == (State.EDITED, 20)


def test_a_log_robbed_of_all_its_checkpoints_does_not_stand(log, tmp_path):
    # Without one, anybody could have written every event: a chain alone is no signature.
    put(log, lines_of(other_history(tmp_path / "other", 20)))
    for size in log.checkpoint_sizes():
        (log.checkpoints_dir / f"{size:020d}").unlink()
    state, at, summary = found(log)
    assert (state, at) == (State.CHECKPOINT, 0)
    assert "is missing" in summary


def test_a_segment_whose_checkpoint_is_gone_is_found(long_log):
    second = long_log.segments()[1]
    (long_log.checkpoints_dir / f"{second.first:020d}").unlink()
    assert found(long_log)[:2] == (State.CHECKPOINT, second.first)


def test_what_the_signer_remembers_accuses_a_cut_and_a_rewritten_log(log, tmp_path):
    last = log.key().open(log.note(20))
    assert found(log, remembered=last)[0] is State.INTACT
    other = other_history(tmp_path / "other", 20)
    put(log, lines_of(log)[:10])
    for size in (15, 20):
        (log.checkpoints_dir / f"{size:020d}").unlink()
    assert found(log, remembered=last)[:2] == (State.TRUNCATED, 10)
    put(log, lines_of(other))
    for size in (5, 10):
        (log.checkpoints_dir / f"{size:020d}").unlink()
    assert found(log, remembered=last)[:2] == (State.REWRITTEN, 20)
