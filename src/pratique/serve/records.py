"""What is kept of a request: counts and ids; text only where the policy asks, and only redacted.

The ledger takes the event; there is no room for text in it. Text goes to its own file, one JSON line
per request, after the redactor has seen the whole of it (a stream's pieces are joined first).
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from pratique.core.ids import BundleId, Digest
from pratique.ledger.events import (
    Count,
    Event,
    Line,
    Load,
    Remark,
    Request,
    RungLost,
    TextLogging,
    Unloaded,
)
from pratique.redact import Redacted, redact
from pratique.serve.escrow import Escrow
from pratique.serve.fingerprint import Marker
from pratique.serve.gateway.exchange import Exchange

_MICRO: Final = 1_000_000


class Book(Protocol):
    """Where events go: the ledger, or a list in a test."""

    def append(self, event: Event) -> int:
        """Add one event."""
        ...


class TextLog:
    """Redacted prompts and answers, one JSON line each, mode 0600, appended whole.

    With an escrow the text of a line is encrypted to auditors elsewhere, and only they can read it.
    """

    def __init__(self, path: Path, escrow: Escrow | None = None) -> None:
        self.escrow = escrow
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, request: str, caller: str, prompt: Redacted, answer: Redacted) -> None:
        """Write one line."""
        text = {"prompt": prompt.text, "answer": answer.text}
        if self.escrow is not None:
            text = {"age": self.escrow.seal(json.dumps(text))}
        line = json.dumps(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "request": request,
                "caller": caller,
                **text,
            },
            ensure_ascii=True,
        )
        os.write(self._fd, line.encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class Records:
    """Writes what happens to the ledger, and redacted text to the text log where there is one."""

    def __init__(
        self,
        book: Book,
        *,
        bundle_id: str,
        name: str,
        texts: TextLog | None = None,
        marker: Marker | None = None,
        redactor: Callable[[str], Redacted] = redact,
    ) -> None:
        self._book = book
        self._bundle = BundleId(bundle_id)
        self._name = Line(name)
        self._texts = texts
        self._redactor = redactor
        self._marker = marker
        self.keeps_text = texts is not None
        self.keeps_mark = marker is not None

    def loaded(
        self, *, rung: str, device: str, predicted: int, measured: int, skipped: tuple[str, ...]
    ) -> None:
        """Record a load decision."""
        self._book.append(
            Load(
                bundle=self._bundle,
                name=self._name,
                engine=Line("transformers"),
                rung=Line(rung),
                device=Line(device),
                predicted=Count(predicted),
                measured=Count(measured),
                skipped=tuple(Line(item[:200]) for item in skipped),
            )
        )

    def text_logging(self, *, on: bool, policy_digest: Digest, by: str) -> None:
        """Record that (redacted) text is written from here on, or no longer, and by whom."""
        escrow = self._texts is not None and self._texts.escrow is not None
        self._book.append(
            TextLogging(on=on, escrow=escrow, policy_digest=policy_digest, by=Line(by))
        )

    def rung_lost(self, rung: str, reason: str) -> None:
        """Record that a rung did not work."""
        self._book.append(RungLost(bundle=self._bundle, rung=Line(rung), reason=Remark(reason)))

    def unloaded(self, reason: str) -> None:
        """Record that serving ended."""
        self._book.append(Unloaded(bundle=self._bundle, name=self._name, reason=Remark(reason)))

    def served(self, exchange: Exchange, *, rung: str) -> None:
        """Record a request."""
        entities: dict[str, int] = {}
        if self._texts is not None:
            prompt = self._redactor("\n".join(exchange.prompt))
            answer = self._redactor("".join(exchange.answer))
            entities = counts(prompt, answer)
            self._texts.write(exchange.request_id, exchange.caller, prompt, answer)
        self._book.append(
            Request(
                request=Line(exchange.request_id),
                caller=Line(exchange.caller),
                bundle=self._bundle,
                name=self._name,
                rung=Line(rung),
                route=Line(exchange.route),
                status=Count(exchange.status),
                finish=Line(exchange.finish or "-"),
                prompt_chars=Count(exchange.prompt_chars),
                completion_chars=Count(exchange.completion_chars),
                prompt_tokens=Count(exchange.prompt_tokens),
                completion_tokens=Count(exchange.completion_tokens),
                latency_us=Count(int(exchange.seconds * _MICRO)),
                first_token_us=Count(int(exchange.seconds_to_first * _MICRO)),
                streamed=exchange.streamed,
                entities=entities,
                fingerprint=Line("" if self._marker is None else self._marker.of(exchange.marked)),
            )
        )


def counts(*found: Redacted) -> dict[str, int]:
    """How many of each entity type were seen."""
    total: Counter[str] = Counter()
    for redacted in found:
        total.update({str(kind): number for kind, number in redacted.counts.items()})
    return dict(sorted(total.items()))
