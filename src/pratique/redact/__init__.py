"""Personal and secret data out of text. `redact(text)` is all that most callers need.

The rule: what cannot be read in full is withheld in full, nothing found is ever repeated in a
message, and nothing here opens a connection.

``redact(text) -> Redacted(text, spans, counts, withheld)``; `Redactor` takes a `KeyRing` for
tokens that can be correlated; `StreamRedactor` joins a stream before it redacts;
`pratique.redact.logs` is the choke point for log records.
"""

from pratique.redact.engine import MAX_CHARS, MAX_SECONDS, Redactor, redact
from pratique.redact.stream import StreamRedactor
from pratique.redact.tokens import KeyRing
from pratique.redact.types import Detector, EntityType, Redacted, Span

__all__ = [
    "MAX_CHARS",
    "MAX_SECONDS",
    "Detector",
    "EntityType",
    "KeyRing",
    "Redacted",
    "Redactor",
    "Span",
    "StreamRedactor",
    "redact",
]
