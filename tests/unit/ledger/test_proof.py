"""A proof travels alone: the verifier is one file that knows nothing of pratique."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pratique.errors import LedgerNotIntact, UsageError
from pratique.ledger import offline_verifier
from pratique.ledger.proof import prove
from tests.support.ledgers import open_log, request, write_log

VERIFIER = Path(offline_verifier.__file__)


@pytest.fixture
def folder(tmp_path):
    return write_log(tmp_path / "log", 21, checkpoint_events=5)


def ask(path, *arguments, stdin=None):
    return subprocess.run(
        [sys.executable, "-I", VERIFIER, path, *arguments],
        capture_output=True,
        text=True,
        input=stdin,
        timeout=60,
        check=False,
    )


def test_the_verifier_needs_the_standard_library_and_cryptography_alone():
    source = VERIFIER.read_text(encoding="utf-8")
    imported = {
        line.split()[1].split(".")[0]
        for line in source.splitlines()
        if line.startswith(("import ", "from "))
    }
    assert imported == {"argparse", "base64", "hashlib", "json", "sys", "pathlib", "cryptography"}


def test_a_proof_is_checked_elsewhere(folder, tmp_path):
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(prove(folder, 7)), encoding="utf-8")
    done = ask(path, "--key", folder.key().vkey())
    assert (done.returncode, done.stderr) == (0, "")
    said, event = done.stdout.splitlines()
    assert said.startswith("proved: event 7 of 21")
    assert json.loads(event)["unmapped"]["request"] == "req-7"
    alone = ask("-", stdin=path.read_text(encoding="utf-8"))
    assert alone.returncode == 0
    assert "came with the proof" in alone.stderr


@pytest.mark.parametrize("number", range(21))
def test_every_event_can_be_proved(folder, number):
    assert offline_verifier.check(prove(folder, number), folder.key().vkey())[:2] == (number, 21)


def test_what_is_left_after_retention_can_be_proved(tmp_path):
    folder = write_log(tmp_path / "log", 40, segment_bytes=10_000)
    first = folder.segments()[2].first
    with open_log(folder.root, segment_bytes=10_000) as log:
        log.retain(first, by="uid:0")
    assert offline_verifier.check(prove(folder, first), None)[0] == first
    with pytest.raises(UsageError, match="deleted by retention"):
        prove(folder, first - 1)


@pytest.mark.parametrize("number", [21, 10**9])
def test_an_event_that_is_not_sealed_cannot_be_proved(folder, number):
    log = open_log(folder.root)
    log.append(request(21))
    with pytest.raises(UsageError, match="not among the 21 events"):
        prove(folder, number)
    log.close()


def test_a_tampered_log_proves_nothing(folder):
    path = folder.segments()[0].path
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"req-9", b"req-X"))
    with pytest.raises(LedgerNotIntact, match="edited at event 9"):
        prove(folder, 3)


def test_a_rewritten_log_proves_nothing(folder, tmp_path):
    with open_log(tmp_path / "other") as log:
        for number in range(21):
            log.append(request(number, status=404))
    (forged,) = (tmp_path / "other" / "segments").glob("*.jsonl")
    folder.segments()[0].path.write_bytes(forged.read_bytes())
    with pytest.raises(LedgerNotIntact, match="signed root"):
        prove(folder, 3)


def changed(proof, field, value):
    return proof | {field: value}


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("number", lambda n: n + 1),
        ("number", lambda n: -1),
        ("number", lambda n: 10**6),
        ("number", str),
        ("number", lambda n: True),
        ("event", lambda e: e.replace("req-7", "req-8")),
        ("event", lambda e: e + "\n"),
        ("event", lambda e: "\ud800"),
        ("event", lambda e: None),
        ("path", lambda p: p[::-1]),
        ("path", lambda p: p[:-1]),
        ("path", lambda p: [*p, p[0]]),
        ("path", lambda p: ["zz", *p[1:]]),
        ("path", lambda p: [p[0][:-2], *p[1:]]),
        ("path", lambda p: [1]),
        ("path", lambda p: "00" * 32),
        ("path", lambda p: p * 20),
        ("checkpoint", lambda c: c.replace("\n21\n", "\n22\n")),
        ("checkpoint", lambda c: c.replace("pratique", "other")),
        ("checkpoint", lambda c: c.replace("—", "-")),
        ("checkpoint", lambda c: ""),
        ("checkpoint", lambda c: c.split("\n\n")[0] + "\n\n"),
        ("key", lambda k: k[:-4]),
        ("key", lambda k: ""),
        ("schema", lambda s: "pratique.ledger.proof/v2"),
        ("extra", lambda s: 1),
    ],
)
def test_a_bent_proof_is_refused(folder, tmp_path, field, change):
    proof = prove(folder, 7)
    proof[field] = change(proof.get(field))
    with pytest.raises((offline_verifier.Refused, UnicodeEncodeError)):
        offline_verifier.check(proof, None)
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(proof), encoding="utf-8")
    assert offline_verifier.main([str(path)]) == 11


def test_another_key_is_refused(folder, tmp_path):
    other = write_log(tmp_path / "other", 1, seed=2)
    with pytest.raises(offline_verifier.Refused, match="another key"):
        offline_verifier.check(prove(folder, 7), other.key().vkey())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b" " * (1 << 20) + b"{}"])
def test_what_is_no_proof_is_unreadable(tmp_path, content, capsys):
    path = tmp_path / "proof.json"
    path.write_bytes(content)
    assert offline_verifier.main([str(path)]) == 5
    assert "Traceback" not in capsys.readouterr().err


def test_what_is_not_there_is_unreadable(tmp_path):
    assert offline_verifier.main([str(tmp_path / "absent")]) == 5


def test_a_name_that_stands_twice_is_no_proof(folder, tmp_path, capsys):
    text = json.dumps(prove(folder, 7))
    path = tmp_path / "proof.json"
    path.write_text(text.replace("{", '{"number": 8, ', 1), encoding="utf-8")
    assert offline_verifier.main([str(path)]) == 5
    assert "unreadable" in capsys.readouterr().err
