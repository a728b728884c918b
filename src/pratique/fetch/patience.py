"""How long to wait and how often to ask again. Obeys Retry-After; gives up rather than hang."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from huggingface_hub.utils._http import parse_ratelimit_headers

from pratique.errors import FetchError


@dataclass(frozen=True, slots=True)
class Patience:
    """`attempts` in a row without a byte of progress, waits in seconds, doubling from `first`."""

    attempts: int = 6
    first: float = 1.0
    longest: float = 60.0
    longest_told: float = 600.0
    """The longest wait that a server may ask for; beyond it the user is told instead."""
    drip: float = 120.0
    """A body must bring 64 KiB within this time, or it counts as cut."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random

    def pause(
        self,
        failures: int,
        headers: Mapping[str, str] | None,
        *,
        what: str,
        stop: threading.Event | None = None,
    ) -> None:
        """Wait after the `failures`-th failure in a row, in steps that `stop` ends.

        Raises FetchError if the server asks for more patience than `longest_told`.
        """
        told = wait_told(headers) if headers is not None else None
        if told is not None and told > self.longest_told:
            raise FetchError(
                f"the server asks to wait {told:.0f} seconds before {what}",
                hint="run the same command again later; what was downloaded is kept",
            )
        backoff = min(self.longest, self.first * 2 ** min(failures - 1, 16))
        left = told if told is not None else backoff * (0.5 + self.jitter() / 2)
        while left > 0 and not (stop is not None and stop.is_set()):
            step = left if stop is None else min(left, 1.0)
            self.sleep(step)
            left -= step


def wait_told(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` or `RateLimit` ask for, or None. Malformed values count as none."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    if text:
        try:
            when = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError):
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    try:
        limits = parse_ratelimit_headers(headers)
    except ValueError:
        return None
    return float(limits.reset_in_seconds) if limits is not None and limits.remaining == 0 else None
