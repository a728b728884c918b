"""The signer signs extensions of its own tree and nothing else, here and in a process of its own."""

import signal
import socket
import threading

import pytest

from pratique.errors import FormatError, LedgerNotIntact, StorageError, VerificationRefused
from pratique.ledger.folder import Folder
from pratique.ledger.ledger import Ledger
from pratique.ledger.merkle import Frontier, leaf_hash
from pratique.ledger.note import sign_note
from pratique.ledger.signer import KeySigner, key_signer
from pratique.ledger.signer_process import RemoteSigner, serve_signer, start_signer
from pratique.ledger.verify import State, verify
from tests.support.ledgers import private_key, request, signer, ticking

LEAVES = [leaf_hash(bytes([i])) for i in range(20)]


def tree(count):
    grown = Frontier()
    for leaf in LEAVES[:count]:
        grown.append(leaf)
    return grown


def fresh(memory=None):
    made = signer(memory=memory)
    made.resume(None, ())
    return made


def test_it_signs_what_it_computed():
    made = fresh()
    note = made.extend(LEAVES[:7])
    assert made.key.open(note).root == tree(7).root()
    assert made.key.open(made.extend(LEAVES[7:])).root == tree(20).root()
    assert made.extend([]) == made.extend([])


def test_it_resumes_from_its_own_checkpoint_alone(tmp_path):
    note = fresh().extend(LEAVES[:7])
    again = signer()
    again.resume(note, tree(7).peaks)
    assert again.key.open(again.extend(LEAVES[7:])).root == tree(20).root()
    with pytest.raises(LedgerNotIntact):
        signer().resume(note, tree(6).peaks)
    with pytest.raises(LedgerNotIntact):
        signer().resume(note, [bytes(32)] * 3)
    forged = sign_note(again.key.open(note).text(), again.key.name, private_key(2))
    with pytest.raises(VerificationRefused):
        signer().resume(forged, tree(7).peaks)


@pytest.mark.parametrize("leaves", [[b"short"], [bytes(33)]])
def test_what_is_no_leaf_hash_is_refused(leaves):
    with pytest.raises(FormatError):
        fresh().extend(leaves)


def test_it_remembers_across_restarts_and_refuses_another_history(tmp_path):
    memory = tmp_path / "ledger.last"
    fresh(memory).extend(LEAVES[:7])
    cut = signer(memory=memory)
    cut.resume(None, ())
    with pytest.raises(LedgerNotIntact, match="was cut"):
        cut.extend(LEAVES[:6])
    with pytest.raises(LedgerNotIntact, match="not what its key signed"):
        cut.extend([*LEAVES[:6], LEAVES[8], LEAVES[9]])
    cut.extend(LEAVES[:8])
    assert memory.read_text(encoding="utf-8").split("\n")[1] == "8"


def test_two_signers_with_one_key_follow_each_other(tmp_path):
    memory = tmp_path / "ledger.last"
    one, two = fresh(memory), fresh(memory)
    one.extend(LEAVES[:5])
    two.extend(LEAVES[:9])
    one.extend(LEAVES[5:12])
    with pytest.raises(LedgerNotIntact):
        two.extend([LEAVES[0]])
    two.extend(LEAVES[9:])


def test_a_damaged_memory_is_no_memory_lost(tmp_path):
    memory = tmp_path / "ledger.last"
    fresh(memory).extend(LEAVES[:5])
    memory.write_text("nonsense", encoding="utf-8")
    with pytest.raises(StorageError, match="memory cannot be read"):
        signer(memory=memory).extend([])


def test_a_log_and_its_checkpoints_cut_together_are_refused_by_memory(tmp_path):
    key = tmp_path / "keys" / "ledger.key"
    with Ledger.open(tmp_path / "log", key_signer(key), clock_ms=ticking()) as log:
        log.append(request(0))
        log.checkpoint()
        for number in range(1, 6):
            log.append(request(number))
    folder = Folder(tmp_path / "log")
    path = folder.segments()[0].path
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    (folder.checkpoints_dir / f"{6:020d}").unlink()
    assert verify(folder).state is State.INTACT
    with pytest.raises(LedgerNotIntact, match="its key has signed 6 events, 1 are left"):
        Ledger.open(tmp_path / "log", key_signer(key), clock_ms=ticking())


# --- at the other end of a socket --------------------------------------------------------------------


@pytest.fixture
def pair():
    """A remote signer whose other end is a thread, and that end's own socket."""
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=serve_signer, args=(theirs, signer()))
    thread.start()
    yield ours
    ours.close()
    thread.join(10)
    theirs.close()


def test_a_remote_signer_is_a_signer(pair):
    remote = RemoteSigner(pair)
    assert remote.key == signer().key
    remote.resume(None, ())
    assert remote.key.open(remote.extend(LEAVES)).root == tree(20).root()
    with pytest.raises(StorageError, match="refused"):
        remote.resume(b"nonsense", ())


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x00\x00\x02[]",
        b"\x00\x00\x00\x01{",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
    ],
)
def test_a_malformed_frame_ends_the_conversation(pair, frame):
    pair.settimeout(10)
    pair.sendall(frame)
    assert pair.recv(1) == b""


@pytest.mark.parametrize(
    "frame",
    [
        b"{}",
        b'{"op":"sign","text":"anything"}',
        b'{"op":"extend","leaves":"zz"}',
        b'{"op":"extend","leaves":"00"}',
        b'{"op":"extend"}',
        b'{"op":"resume","note":5,"peaks":""}',
    ],
)
def test_an_odd_question_is_refused_in_words(pair, frame):
    pair.settimeout(10)
    pair.sendall(len(frame).to_bytes(4, "big") + frame)
    length = int.from_bytes(pair.recv(4), "big")
    assert b"refused" in pair.recv(length)


def test_a_log_with_its_signer_in_another_process(tmp_path):
    with start_signer(tmp_path / "keys" / "ledger.key") as remote:
        with Ledger.open(tmp_path / "log", remote, clock_ms=ticking()) as log:
            log.append_batch([request(number) for number in range(5)])
        assert verify(Folder(tmp_path / "log"), key=remote.key).state is State.INTACT
    with start_signer(tmp_path / "keys" / "ledger.key") as remote:
        path = Folder(tmp_path / "log").segments()[0].path
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(LedgerNotIntact):
            Ledger.open(tmp_path / "log", remote, clock_ms=ticking())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_sent_to_everybody_leaves_the_last_checkpoint(tmp_path, number):
    with start_signer(tmp_path / "keys" / "ledger.key") as remote:
        remote._child.send_signal(number)
        with Ledger.open(tmp_path / "log", remote, clock_ms=ticking()) as log:
            log.append_batch([request(0)])
        assert verify(Folder(tmp_path / "log"), key=remote.key).state is State.INTACT


def test_a_signer_that_is_gone_is_said(tmp_path):
    remote = start_signer(tmp_path / "ledger.key")
    remote._child.kill()
    remote._child.wait()
    with pytest.raises(StorageError, match="signer"):
        remote.extend([])
    remote.close()


def test_a_signer_without_a_usable_key_says_so(tmp_path):
    (tmp_path / "ledger.key").write_text("nonsense", encoding="utf-8")
    with pytest.raises(StorageError, match="not an unencrypted private key"):
        start_signer(tmp_path / "ledger.key")


def test_the_key_signer_holds_no_key_in_its_repr():
    assert "private" not in repr(KeySigner(private_key())).lower()
