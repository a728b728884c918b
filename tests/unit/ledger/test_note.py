"""Signed notes and checkpoints: the vectors of C2SP, and every way to bend one."""

import base64

import pytest

from pratique.errors import FormatError, PratiqueError, VerificationRefused
from pratique.ledger.merkle import EMPTY_ROOT
from pratique.ledger.note import Checkpoint, LogKey, parse_checkpoint, sign_note, split_note
from tests.support.ledgers import private_key

NAME = "pratique/ledger/test"
KEY = LogKey(NAME, private_key().public_key().public_bytes_raw())
CHECKPOINT = Checkpoint(NAME, 42, bytes(range(32)))
NOTE = sign_note(CHECKPOINT.text(), NAME, private_key())

# The example of the Go module sumdb/note (BSD-3-Clause), which C2SP's signed-note describes.
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_the_published_example_verifies():
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = LogKey.parse(PETER_KEY)
    text, [(name, key_id, signature)] = split_note(PETER_NOTE.encode())
    assert (name, key_id) == (key.name, key.key_id)
    Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())


def test_a_signed_checkpoint_opens():
    assert KEY.open(NOTE) == CHECKPOINT
    assert LogKey.parse(KEY.vkey()) == KEY
    assert sign_note(CHECKPOINT.text(), NAME, private_key()) == NOTE


def test_another_signers_line_is_ignored_and_ours_still_counts():
    witness = sign_note(CHECKPOINT.text(), "witness.example", private_key(9)).decode()
    both = NOTE + witness.split("\n\n")[1].encode()
    assert KEY.open(both) == CHECKPOINT
    with pytest.raises(VerificationRefused, match="no signature"):
        KEY.open(witness.encode())


@pytest.mark.parametrize("seed", [2, 3])
def test_another_keys_signature_is_refused(seed):
    with pytest.raises(VerificationRefused):
        KEY.open(sign_note(CHECKPOINT.text(), NAME, private_key(seed)))


def test_a_stolen_key_id_does_not_help():
    forged = sign_note(CHECKPOINT.text(), NAME, private_key(2)).decode()
    head, _, encoded = forged.rstrip("\n").rpartition(" ")
    raw = base64.b64decode(encoded)
    note = f"{head} {base64.b64encode(KEY.key_id + raw[4:]).decode()}\n"
    with pytest.raises(VerificationRefused, match="does not verify"):
        KEY.open(note.encode())


def test_another_logs_checkpoint_is_refused():
    other = Checkpoint("pratique/ledger/other", 42, bytes(32))
    with pytest.raises(VerificationRefused, match="another log"):
        KEY.open(sign_note(other.text(), NAME, private_key()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        f"{NAME}\n042\n{'A' * 43}=\n",
        f"{NAME}\n+1\n{'A' * 43}=\n",
        f"{NAME}\n-1\n{'A' * 43}=\n",
        f"{NAME}\n١\n{'A' * 43}=\n",
        f"{NAME}\n{2**53}\n{'A' * 43}=\n",
        f"{NAME}\n1\n{'A' * 42}==\n",
        f"{NAME}\n1\n{'A' * 42}B=\n",
        f"{NAME}\n1\n{'A' * 43}=\nextension\n",
        f" {NAME}\n1\n{'A' * 43}=\n",
        f"a+b\n1\n{'A' * 43}=\n",
        f"{NAME}\r\n1\n{'A' * 43}=\n",
    ],
)
def test_another_spelling_of_a_checkpoint_is_refused(text):
    with pytest.raises(FormatError):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        NOTE[:-1],
        NOTE.replace(b"\n\n", b"\n"),
        NOTE + b"\n",
        NOTE.replace("—".encode(), b"-"),
        NOTE.replace(b"=\n", b"\n"),
        b"\x00" + NOTE,
        b"\xff" + NOTE,
        NOTE + b"\xe2\x80\x94 a AAAA\n",
        b"x" * 20_000,
        NOTE + NOTE.split(b"\n\n")[1] * 20,
    ],
)
def test_a_bent_note_is_refused(note):
    with pytest.raises(PratiqueError):
        KEY.open(note)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "a+b",
        PETER_KEY.replace("c74f20a3", "c74f20a4"),
        PETER_KEY.replace("ARpc", "AhpC"),
        PETER_KEY[:-4],
        "bad name+" + PETER_KEY.split("+", 1)[1],
    ],
)
def test_a_bent_key_is_refused(vkey):
    with pytest.raises(FormatError):
        LogKey.parse(vkey)


def test_the_empty_log_has_a_checkpoint():
    empty = Checkpoint(NAME, 0, EMPTY_ROOT)
    assert KEY.open(sign_note(empty.text(), NAME, private_key())) == empty
