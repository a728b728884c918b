"""Text in, redacted text out; fails closed.

The rule: a text that cannot be read to the end is not passed on. An error in any detector, a
text over `MAX_CHARS` or more work than `MAX_SECONDS` of processor time replaces the whole text.

Steps: 1. views (plain, decoded, plainly spoken); 2. every detector on every view; 3. the same
inside readable base64 and hexadecimal runs, `MAX_DEPTH` deep; 4. back to offsets of the input;
5. one token for each span.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from types import MappingProxyType

from pratique.redact.encoded import nested
from pratique.redact.resolve import resolve
from pratique.redact.spoken import spoken_view
from pratique.redact.tokens import TOKEN, KeyRing, bare_token
from pratique.redact.types import Detector, EntityType, Redacted, Span
from pratique.redact.view import View, decoded_view, folded, raw_view

MAX_CHARS = 262_144
MAX_SECONDS = 3.0
MAX_DEPTH = 2
_MAX_NESTED = 64


class _OutOfTime(Exception):
    """The processor time for one text is spent."""


class Redactor:
    """Finds and replaces personal and secret data; safe to share between threads.

    Args:
        keys: the key ring of the tokens; without it, tokens are bare: ``[EMAIL]``.
        detectors: what to look with; by default all that are registered.
        gazetteer: whether names are also known from the list of names, not from context alone.
        seconds: processor time that one text may take before it is withheld.
    """

    def __init__(
        self,
        *,
        keys: KeyRing | None = None,
        detectors: Sequence[Detector] | None = None,
        gazetteer: bool = True,
        seconds: float = MAX_SECONDS,
    ) -> None:
        from pratique.redact.detectors import registered  # noqa: PLC0415  compiled when first needed

        self._keys = keys
        self._detectors = tuple(registered(gazetteer=gazetteer) if detectors is None else detectors)
        self._seconds = seconds

    def redact(self, text: str) -> Redacted:
        """Return ``text`` with all that was found replaced.

        Never raises on any text. What cannot be read in full is withheld in full; then
        `Redacted.withheld` says why.
        """
        if not text:
            return Redacted(text, ())
        if len(text) > MAX_CHARS:
            return _withheld(text, "too long")
        try:
            spans = self.spans(text)
            return Redacted(self._replace(text, spans), spans, _counts(spans))
        except _OutOfTime:
            return _withheld(text, "time-out")
        except Exception:  # noqa: BLE001  the seam where any failure becomes a refusal
            return _withheld(text, "error")

    def spans(self, text: str) -> tuple[Span, ...]:
        """Return what was found, as half-open code-point ranges of ``text``, sorted, disjoint.

        Does NOT fail closed: it raises. Use `redact` for anything that is passed on.
        """
        deadline = time.thread_time() + self._seconds
        found = resolve(self._find(raw_view(text), 0, deadline))
        tokens = [m.span() for m in TOKEN.finditer(text)] if "[" in text else []
        return tuple(_without(found, tokens)) if tokens else found

    def _find(self, view: View, depth: int, deadline: float) -> Iterator[Span]:
        """Yield findings in one text and in what is encoded in it, in offsets of the input."""
        decoded = decoded_view(view)
        views = [view] if decoded is None else [view, decoded]
        hidden = spoken_view(views[-1])
        for each in views if hidden is None else [*views, hidden]:
            for span in self._scan(each, deadline):
                yield Span.of(each.origin(span.start, span.end), span.type)
        if depth >= MAX_DEPTH:
            return
        for each in views:
            runs = list(nested(each))
            if len(runs) > _MAX_NESTED:
                # Too many to look into: what might hold something is treated as if it did.
                yield from (Span.of(each.origin(a, b), EntityType.SECRET) for a, b, _ in runs)
            elif runs:
                # Decoded in place, so that the words around a run still announce what is in it.
                yield from self._find(folded(each.rewritten(runs)), depth + 1, deadline)

    def _scan(self, view: View, deadline: float) -> Iterator[Span]:
        for detector in self._detectors:
            if time.thread_time() > deadline:
                raise _OutOfTime
            yield from detector.find(view)

    def _replace(self, text: str, spans: tuple[Span, ...]) -> str:
        out: list[str] = []
        at = 0
        for start, end, kind in spans:
            out.append(text[at:start])
            out.append(self._keys.token(kind, text[start:end]) if self._keys else bare_token(kind))
            at = end
        out.append(text[at:])
        return "".join(out)


def _without(spans: Sequence[Span], tokens: list[tuple[int, int]]) -> Iterator[Span]:
    """Yield the spans that are not tokens already, so that redacting twice changes nothing."""
    for span in spans:
        if not any(start <= span.start and span.end <= end for start, end in tokens):
            yield span


def _counts(spans: Sequence[Span]) -> MappingProxyType[EntityType, int]:
    return MappingProxyType(dict(Counter(span.type for span in spans)))


def _withheld(text: str, reason: str) -> Redacted:
    span = Span(0, len(text), EntityType.SECRET)
    token = f"[WITHHELD:{reason.replace(' ', '-')}]"
    return Redacted(token, (span,), _counts((span,)), reason)


@cache
def default_redactor() -> Redactor:
    """Return the redactor without a key and with all detectors; made once."""
    return Redactor()


def redact(text: str) -> Redacted:
    """Redact with the default redactor; see `Redactor.redact`."""
    return default_redactor().redact(text)
