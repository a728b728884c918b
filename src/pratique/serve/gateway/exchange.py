"""One request from its arrival to its last byte: who asked, how long it took, how much it was.

The text of prompt and answer is held only for the redactor, and only where the policy asks for text.
"""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from pratique.core.wire import Started


@dataclass(slots=True)
class Exchange:
    """What is known of one request. Lengths in characters, times from a monotonic clock."""

    route: str
    began: float = field(default_factory=time.monotonic)
    request_id: str = field(default_factory=lambda: f"req-{secrets.token_hex(12)}")
    caller: str = "-"
    status: int = 200
    finish: str = ""
    code: str = ""
    prompt_chars: int = 0
    completion_chars: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    first_token: float | None = None
    streamed: bool = False
    keeps_text: bool = False
    keeps_mark: bool = False
    marked: list[bytes] = field(default_factory=list)
    prompt: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)

    def asked(self, text: str) -> None:
        """Count a piece of the prompt."""
        self.prompt_chars += len(text)
        if self.keeps_text:
            self.prompt.append(text)
        if self.keeps_mark:
            self.marked.append(text.encode("utf-8", "surrogatepass"))

    def asked_all(self, texts: Iterable[str]) -> None:
        """Count the pieces of a prompt."""
        for text in texts:
            self.asked(text)

    def started(self, prompt: Started) -> None:
        """Count a prompt that was computed: with that its first token was drawn."""
        self.prompt_tokens += prompt.prompt_tokens
        self.cached_tokens += prompt.cached_tokens
        if self.first_token is None:
            self.first_token = time.monotonic()

    def said(self, text: str) -> None:
        """Count a piece of the answer."""
        self.completion_chars += len(text)
        if self.keeps_text:
            self.answer.append(text)

    @property
    def seconds(self) -> float:
        """Time since the request arrived."""
        return time.monotonic() - self.began

    @property
    def seconds_to_first(self) -> float:
        """Time from arrival to the first token, 0 if there was none."""
        return 0.0 if self.first_token is None else self.first_token - self.began


class Recorder(Protocol):
    """Where requests leave their trace. Called once per request, whatever became of it."""

    keeps_text: bool
    keeps_mark: bool

    def served(self, exchange: Exchange, *, rung: str) -> None:
        """Record a request."""
        ...


class NoRecorder:
    """Records nothing: for programs that bring their own."""

    keeps_text = False
    keeps_mark = False

    def served(self, exchange: Exchange, *, rung: str) -> None:
        """Do nothing."""
