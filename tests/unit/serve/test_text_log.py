"""The text log: redacted, recorded while it is on, and readable by auditors alone where escrowed."""

import base64
import json
from pathlib import Path

import pyrage
import pytest

from pratique.core.ids import Digest
from pratique.errors import PolicyError
from pratique.ledger.events import Event, Request, TextLogging
from pratique.redact import redact
from pratique.serve.escrow import Escrow
from pratique.serve.fingerprint import marker
from pratique.serve.gateway.exchange import Exchange
from pratique.serve.records import Records, TextLog

PROMPT = redact("I am Maria Keller, maria.keller@example.org")
ANSWER = redact("Hello.")


class Pages:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, event: Event) -> int:
        self.events.append(event)
        return len(self.events) - 1


def written(path: Path, escrow: Escrow | None) -> dict[str, str]:
    log = TextLog(path, escrow)
    log.write("req-1", "-", PROMPT, ANSWER)
    log.close()
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_text_is_redacted(tmp_path: Path) -> None:
    line = written(tmp_path / "log" / "text.jsonl", None)
    assert "[EMAIL]" in line["prompt"]
    assert "keller" not in json.dumps(line).lower()
    assert (tmp_path / "log" / "text.jsonl").stat().st_mode & 0o777 == 0o600


def test_only_an_auditor_reads_what_is_escrowed(tmp_path: Path) -> None:
    auditor, stranger = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    line = written(tmp_path / "text.jsonl", Escrow([str(auditor.to_public())]))
    assert set(line) == {"time", "request", "caller", "age"}
    sealed = base64.b64decode(line["age"])
    assert json.loads(pyrage.decrypt(sealed, [auditor]))["answer"] == "Hello."
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(sealed, [stranger])


@pytest.mark.parametrize(
    "recipient", ["", "age1", "AGE-SECRET-KEY-1", "ssh-ed25519 AAAA", "x" * 500]
)
def test_what_is_no_recipient_is_refused(recipient: str) -> None:
    with pytest.raises(PolicyError, match="no age recipient"):
        Escrow([recipient])


@pytest.mark.parametrize("escrowed", [False, True])
def test_the_switch_leaves_a_trace(tmp_path: Path, *, escrowed: bool) -> None:
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    texts = TextLog(tmp_path / "t", Escrow([recipient]) if escrowed else None)
    pages = Pages()
    records = Records(pages, bundle_id="0" * 64, name="m", texts=texts)
    records.text_logging(on=True, policy_digest=Digest("1" * 64), by="me")
    texts.close()
    assert pages.events == [
        TextLogging(on=True, escrow=escrowed, policy_digest=Digest("1" * 64), by="me")
    ]


def test_a_fingerprint_tells_nothing_without_the_key(tmp_path: Path) -> None:
    here, there = marker(tmp_path / "a"), marker(tmp_path / "b")
    said = here.of([b"What is in the hold?"])
    assert marker(tmp_path / "a").of([b"What is in the hold?"]) == said
    assert here.of([b"What is in the hold!"]) != said
    assert here.of([b"What is ", b"in the hold?"]) != said
    assert there.of([b"What is in the hold?"])[9:] != said[9:]
    assert (tmp_path / "a" / "keys" / "fingerprint.key").stat().st_mode & 0o777 == 0o600


def test_a_fingerprint_is_written_only_where_asked(tmp_path: Path) -> None:
    for mark in (None, marker(tmp_path)):
        pages = Pages()
        records = Records(pages, bundle_id="0" * 64, name="m", marker=mark)
        exchange = Exchange(route="/v1/completions", keeps_mark=records.keeps_mark)
        exchange.asked("grain")
        records.served(exchange, rung="auto")
        event = pages.events[0]
        assert isinstance(event, Request)
        assert event.fingerprint == ("" if mark is None else mark.of([b"grain"]))
