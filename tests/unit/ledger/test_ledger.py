"""The writer: what it acknowledges stays, and it goes on only where a signed log stood."""

import errno
import multiprocessing
import os
import stat
import threading

import pytest

from pratique.errors import LedgerNotIntact, StorageError
from pratique.ledger import events as ev
from pratique.ledger import segment_file
from pratique.ledger.copies import CommandCopy, DirectoryCopy, from_paper, on_paper
from pratique.ledger.folder import Folder
from pratique.ledger.home import open_ledger, open_ledger_apart
from pratique.ledger.ledger import Ledger, Settings, chain_of
from pratique.ledger.verify import State, records, verify
from tests.support.ledgers import open_log, request, signer, ticking, write_log

CHAIN = chain_of(signer())


def kinds(folder, first=0):
    return [record.kind for record in records(folder, CHAIN, first=first)]


def test_events_are_numbered_from_zero_and_read_back(tmp_path):
    with open_log(tmp_path) as log:
        assert [log.append(request(i)) for i in range(3)] == [0, 1, 2]
        assert log.append_durable(request(3)) == 3
        assert log.append_batch([request(4), request(5)]) == range(4, 6)
        assert log.append_batch([]) == range(6, 6)
        log.flush()
        assert log.size == 6
    found = [record.fields["request"] for record in records(Folder(tmp_path), CHAIN)]
    assert found == [f"req-{i}" for i in range(6)]
    report = verify(Folder(tmp_path))
    assert (report.state, report.events, report.sealed) == (State.INTACT, 6, 6)


def test_a_new_log_has_a_checkpoint_before_its_first_event(tmp_path):
    with open_log(tmp_path):
        assert Folder(tmp_path).checkpoint_sizes() == [0]


def test_checkpoints_come_by_count_by_time_and_on_demand(tmp_path):
    folder = Folder(tmp_path)
    with open_log(tmp_path, checkpoint_events=4) as log:
        for number in range(9):
            log.append(request(number))
        assert folder.checkpoint_sizes() == [0, 4, 8]
        note = log.checkpoint()
        assert folder.checkpoint_sizes()[-1] == 9
        assert note == folder.note(9)
    with open_log(tmp_path, checkpoint_seconds=0) as log:
        log.append(request())
        assert folder.checkpoint_sizes()[-1] == 10


def test_files_are_private(tmp_path):
    write_log(tmp_path / "log", 2)
    for path in (tmp_path / "log").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & 0o022, path
        assert path.name == "log.vkey" or not mode & 0o077, path


def test_segments_are_sealed_and_the_next_goes_on(tmp_path):
    folder = write_log(tmp_path, 40, segment_bytes=10_000)
    segments = folder.segments()
    assert len(segments) > 3
    assert all(not s.path.stat().st_mode & 0o222 for s in segments[:-1])
    assert kinds(folder).count("rotation") == len(segments) - 1
    assert set(folder.checkpoint_sizes()) >= {s.first for s in segments}
    assert verify(folder).state is State.INTACT


def test_reading_from_the_middle(tmp_path):
    folder = write_log(tmp_path, 40, segment_bytes=10_000)
    numbers = [record.number for record in records(folder, CHAIN, first=17)]
    assert numbers == list(range(17, 17 + len(numbers)))
    assert len(numbers) > 20


# --- after a crash -------------------------------------------------------------------------------


def abandon(log):
    """Let go of a log as a killed process does: nothing is signed, nothing is flushed."""
    log._release()


def test_a_writer_that_died_leaves_an_unsealed_tail_and_the_next_seals_it(tmp_path):
    log = open_log(tmp_path)
    for number in range(5):
        log.append(request(number))
    abandon(log)
    report = verify(Folder(tmp_path))
    assert (report.state, report.sealed) == (State.UNSEALED_TAIL, 0)
    assert "unsealed tail of 5" in report.summary
    with open_log(tmp_path) as again:
        assert again.size == 5
        assert verify(Folder(tmp_path)).state is State.INTACT


@pytest.mark.parametrize("left", [1, 10, 300])
def test_a_torn_last_line_is_set_aside_and_recorded(tmp_path, left):
    folder = write_log(tmp_path, 3)
    log = open_log(tmp_path)
    log.append(request(3))
    abandon(log)
    path = folder.segments()[0].path
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:left])
    assert verify(folder).torn == left
    with open_log(tmp_path) as again:
        assert again.size == 5
    assert kinds(folder)[-1] == "torn_tail"
    assert [p.stat().st_size for p in (tmp_path / "torn").iterdir()] == [left]
    assert verify(folder).state is State.INTACT


def test_a_crash_between_rotation_and_the_next_segment_is_repaired(tmp_path):
    folder = write_log(tmp_path, 12, segment_bytes=10_000)
    *_, last = folder.segments()
    if len(last.path.read_bytes().splitlines()):
        pytest.fail("choose a count that ends with a rotation")
    last.path.unlink()
    last.base_path.unlink()
    with open_log(tmp_path, segment_bytes=10_000) as log:
        log.append(request())
    assert folder.segments()[-1].first == last.first
    assert verify(folder).state is State.INTACT


def test_a_full_disk_acknowledges_nothing_and_leaves_nothing(tmp_path, monkeypatch):
    with open_log(tmp_path) as log:
        log.append(request(0))
        real, calls = os.write, []

        def full(descriptor, data):
            calls.append(len(data))
            if len(calls) == 1:
                return real(descriptor, bytes(data)[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(segment_file.os, "write", full)
        with pytest.raises(StorageError, match="No space left"):
            log.append(request(1))
        monkeypatch.undo()
        assert log.append(request(2)) == 1
    assert verify(Folder(tmp_path)).state is State.INTACT
    assert kinds(Folder(tmp_path)) == ["request", "request"]


# --- refusing to go on -----------------------------------------------------------------------------


def refused(tmp_path, match, seed=1):
    with pytest.raises(LedgerNotIntact, match=match):
        open_log(tmp_path, seed=seed)


def test_a_log_shorter_than_its_checkpoint_is_refused(tmp_path):
    folder = write_log(tmp_path, 5)
    path = folder.segments()[0].path
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    refused(tmp_path, "was cut: 5 events were signed, 3 are left")


def test_a_torn_line_below_the_checkpoint_is_refused(tmp_path):
    folder = write_log(tmp_path, 5)
    path = folder.segments()[0].path
    path.write_bytes(path.read_bytes()[:-10])
    refused(tmp_path, "was cut")


def test_an_edited_last_segment_is_refused(tmp_path):
    folder = write_log(tmp_path, 5)
    path = folder.segments()[0].path
    path.write_bytes(path.read_bytes().replace(b"req-2", b"req-X"))
    refused(tmp_path, "edited at event 2")


def test_a_rewritten_log_is_refused(tmp_path):
    folder = write_log(tmp_path / "log", 5)
    other = write_log(tmp_path / "other", 6)
    folder.segments()[0].path.write_bytes(other.segments()[0].path.read_bytes().replace(b"", b""))
    lines = other.segments()[0].path.read_bytes().splitlines(keepends=True)
    swapped = write_other_history(tmp_path / "swapped", 5)
    folder.segments()[0].path.write_bytes(swapped)
    assert len(lines) == 6
    refused(tmp_path / "log", "rewritten")


def write_other_history(directory, count):
    with open_log(directory) as log:
        for number in range(count):
            log.append(request(number, status=404))
    return Folder(directory).segments()[0].path.read_bytes()


def test_missing_parts_are_refused(tmp_path):
    folder = write_log(tmp_path / "a", 5)
    for path in folder.checkpoints_dir.iterdir():
        path.unlink()
    refused(tmp_path / "a", "no checkpoint")
    folder = write_log(tmp_path / "b", 5)
    folder.segments()[0].path.unlink()
    refused(tmp_path / "b", "none is left")
    folder = write_log(tmp_path / "c", 5)
    (folder.root / "log.vkey").unlink()
    refused(tmp_path / "c", "log.vkey")
    folder = write_log(tmp_path / "d", 40, segment_bytes=10_000)
    folder.segments()[-1].base_path.unlink()
    refused(tmp_path / "d", "base is missing")


def test_another_key_is_refused(tmp_path):
    write_log(tmp_path, 2)
    refused(tmp_path, "another key", seed=2)


def test_a_changed_checkpoint_is_refused(tmp_path):
    folder = write_log(tmp_path, 2)
    path = folder.checkpoints_dir / f"{2:020d}"
    path.write_bytes(path.read_bytes().replace(b"\n2\n", b"\n3\n"))
    refused(tmp_path, "checkpoint over 2 events was changed")


def test_a_changed_base_is_refused(tmp_path):
    folder = write_log(tmp_path, 40, segment_bytes=10_000)
    base = folder.segments()[-1].base_path
    data = base.read_bytes()
    at = data.index(b'["') + 2
    base.write_bytes(data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :])
    refused(tmp_path, "was changed")


def test_an_edit_while_the_log_is_open_is_noticed(tmp_path):
    with open_log(tmp_path) as log:
        log.append(request(0))
        path = Folder(tmp_path).segments()[0].path
        with path.open("ab") as file:
            file.write(b'{"forged":true}\n')
        with pytest.raises(LedgerNotIntact, match="changed while it was open"):
            log.append(request(1))
        path.write_bytes(b"")
        with pytest.raises(LedgerNotIntact, match="cut while it was open"):
            log.append(request(1))
        abandon(log)


def test_a_closed_log_takes_nothing(tmp_path):
    log = open_log(tmp_path)
    log.close()
    log.close()
    with pytest.raises(RuntimeError, match="closed"):
        log.append(request())


# --- several at once ---------------------------------------------------------------------------------


def test_two_writers_of_one_log_take_turns(tmp_path):
    with (
        open_log(tmp_path, checkpoint_events=5) as one,
        open_log(tmp_path, checkpoint_events=7) as two,
    ):
        numbers = [log.append(request(i)) for i, log in enumerate([one, two, two, one] * 10)]
        assert numbers == list(range(40))
    assert verify(Folder(tmp_path)).state is State.INTACT


def test_two_writers_rotate_together(tmp_path):
    small = {"segment_bytes": 9_000}
    with open_log(tmp_path, **small) as one, open_log(tmp_path, **small) as two:
        for number in range(30):
            (one if number % 3 else two).append(request(number))
    folder = Folder(tmp_path)
    assert len(folder.segments()) > 2
    assert verify(folder).state is State.INTACT


def test_threads_share_a_sync_and_lose_nothing(tmp_path):
    with open_log(tmp_path) as log:
        numbers: list[int] = []

        def work(start):
            for i in range(20):
                numbers.append(log.append_durable(request(start + i)))  # noqa: PERF401 - as it goes

        threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(numbers) == list(range(100))
    assert verify(Folder(tmp_path)).state is State.INTACT


def _write_some(directory, count):
    with open_log(directory, segment_bytes=30_000, checkpoint_events=10) as log:
        for number in range(count):
            log.append(request(number))


def test_processes_take_turns(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_some, args=(tmp_path, 30)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    report = verify(Folder(tmp_path))
    assert report.state is State.INTACT
    assert kinds(Folder(tmp_path)).count("request") == 90


# --- retention -----------------------------------------------------------------------------------------


def test_retention_deletes_whole_segments_and_keeps_checkpoints(tmp_path):
    folder = write_log(tmp_path, 60, segment_bytes=10_000)
    before = folder.checkpoint_sizes()
    segments = folder.segments()
    with open_log(tmp_path, segment_bytes=10_000) as log:
        assert log.retain(0, by="uid:0") == []
        gone = log.retain(segments[3].first + 1, by="uid:0")
        assert gone == [s.path for s in segments[:3]]
    assert folder.segments()[0].first == segments[3].first
    assert set(before) <= set(folder.checkpoint_sizes())
    report = verify(folder)
    assert (report.state, report.first) == (State.INTACT, segments[3].first)
    with open_log(tmp_path) as log:
        log.append(request())
    assert verify(folder).state is State.INTACT


def test_the_active_segment_is_never_deleted(tmp_path):
    write_log(tmp_path, 20, segment_bytes=10_000)
    with open_log(tmp_path, segment_bytes=10_000) as log:
        log.retain(10**9, by="uid:0")
        assert len(Folder(tmp_path).segments()) == 1
        log.append(request())
    assert verify(Folder(tmp_path)).state is State.INTACT


# --- copies ------------------------------------------------------------------------------------------------


def open_with(directory, *copies):
    return Ledger.open(
        directory,
        signer(),
        settings=Settings(checkpoint_events=2, checkpoint_seconds=1e9),
        copies=copies,
        clock_ms=ticking(),
    )


def test_checkpoints_are_copied_to_a_directory_and_a_command(tmp_path):
    received = tmp_path / "received"
    command = CommandCopy(["sh", "-c", f"cat >> {received}"])
    with open_with(tmp_path / "log", DirectoryCopy(tmp_path / "copy"), command) as log:
        for number in range(4):
            log.append(request(number))
    folder = Folder(tmp_path / "log")
    notes = {size: folder.note(size) for size in folder.checkpoint_sizes()}
    assert {int(p.name): p.read_bytes() for p in (tmp_path / "copy").iterdir()} == notes
    assert received.read_bytes() == b"".join(notes[size] for size in sorted(notes))


def test_a_copy_that_fails_is_an_event_and_no_obstacle(tmp_path):
    (tmp_path / "file").write_text("")
    broken = (
        DirectoryCopy(tmp_path / "file"),
        CommandCopy(["false"]),
        CommandCopy([str(tmp_path / "absent")]),
    )
    with open_with(tmp_path / "log", *broken) as log:
        assert log.append(request(0)) >= 0
    assert kinds(Folder(tmp_path / "log")).count("copy_failed") >= 3
    assert verify(Folder(tmp_path / "log")).stands


class Stubborn:
    """A signer that can be told to fail, as one that died would."""

    def __init__(self):
        self.real, self.works = signer(), True
        self.key = self.real.key
        self.resume = self.real.resume

    def extend(self, leaves):
        if not self.works:
            raise StorageError("the log's signer is gone")
        return self.real.extend(leaves)


def write_until_refused(log):
    while log.size < 100:
        log.append(request(log.size))


@pytest.mark.parametrize("segment_bytes", [20_000, 2**30])
def test_without_its_signer_a_log_goes_on_for_a_while_and_then_takes_nothing(
    tmp_path, segment_bytes
):
    stubborn = Stubborn()
    few = Settings(checkpoint_events=2, checkpoint_seconds=1e9, segment_bytes=segment_bytes)
    log = Ledger.open(tmp_path, stubborn, settings=few, clock_ms=ticking())
    stubborn.works = False
    while log.size < 5:
        log.append(request(log.size))
    with pytest.raises(StorageError, match="signer is gone"):
        write_until_refused(log)
    taken = kinds(Folder(tmp_path)).count("request")
    assert taken < 12
    stubborn.works = True
    assert log.append(request(taken)) >= taken
    log.close()
    report = verify(Folder(tmp_path))
    assert (report.state, kinds(Folder(tmp_path)).count("request")) == (State.INTACT, taken + 1)


def test_paper_comes_back_and_a_slip_is_named(tmp_path):
    note = write_log(tmp_path, 3).note(3)
    printed = on_paper(note)
    assert from_paper(printed) == note
    rows = printed.splitlines(keepends=True)
    with pytest.raises(StorageError, match="line 2"):
        from_paper(rows[0] + rows[1].replace("3", "8") + "".join(rows[2:]))
    with pytest.raises(StorageError, match="line 1"):
        from_paper("hello")


# --- the default place ---------------------------------------------------------------------------------------


def test_a_home_has_one_log_and_one_key(tmp_path):
    with open_ledger(tmp_path) as log:
        log.append(request())
    key = tmp_path / "keys" / "ledger.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    with open_ledger(tmp_path) as log:
        assert log.append(ev.Unloaded(bundle="a" * 64, name="m")) == 1
    assert key.read_bytes() == before
    assert verify(Folder(tmp_path / "ledger")).state is State.INTACT


def test_a_home_whose_key_is_held_apart_goes_on_with_the_same_log(tmp_path):
    with open_ledger(tmp_path) as log:
        log.append(request(0))
    with open_ledger_apart(tmp_path) as log:
        assert log.append(request(1)) == 1
        with open_ledger(tmp_path) as beside:
            assert beside.append(request(2)) == 2
        assert log.append(request(3)) == 3
        assert "_private" not in vars(log._signer)
    assert verify(Folder(tmp_path / "ledger")).state is State.INTACT


def test_a_key_that_is_none_is_refused(tmp_path):
    from pratique.errors import UnreadableInput
    from pratique.ledger.signer import key_signer
    from tests.support.models import write_pickle_bin

    path = tmp_path / "ledger.key"
    write_pickle_bin(path, container="raw")
    with pytest.raises(UnreadableInput, match="not an unencrypted private key"):
        key_signer(path)


def test_another_kind_of_key_is_refused(tmp_path):
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    from pratique.errors import UnreadableInput
    from pratique.ledger.signer import key_signer

    pem = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (tmp_path / "ledger.key").write_bytes(pem)
    with pytest.raises(UnreadableInput, match="not Ed25519"):
        key_signer(tmp_path / "ledger.key")


def test_a_lost_key_does_not_start_another_log_in_silence(tmp_path):
    with open_ledger(tmp_path) as log:
        log.append(request())
    (tmp_path / "keys" / "ledger.key").unlink()
    with pytest.raises(LedgerNotIntact, match="key is gone"):
        open_ledger(tmp_path)
