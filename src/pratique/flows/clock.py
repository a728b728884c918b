"""A clock that ran backwards: expiry cannot be judged before a time that this home has already seen.

The trust set remembers the latest time of its own installation and of signatures
(`TrustRoot.check_clock`). The ledger knows when this host last did something. Before a clock that was
set back can put an earlier time at the ledger's end, the later one is handed to the trust set.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pratique.errors import VerificationRefused
from pratique.ledger.folder import Folder

_SKEW: Final = timedelta(minutes=5)


def heed_ledger(home: Path, now: datetime) -> datetime | None:
    """Return the time of an event that is later than `now`, by more than clocks may differ, or None.

    Guarantees that the trust installed in `home`, if any, remembers it from then on.
    """
    moment = Folder(home / "ledger").last_time_ms()
    if moment is None:
        return None
    try:
        seen = datetime.fromtimestamp(moment / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None  # no time at all: `log verify` says what is wrong with the log
    if now >= seen - _SKEW:
        return None
    from pratique.attest.install import advance_time_floor  # noqa: PLC0415  # slow, and rarely needed

    advance_time_floor(home, seen)
    return seen


def check_against_ledger(home: Path, now: datetime) -> None:
    """Raise VerificationRefused if the home's ledger has an event from after `now`."""
    if (seen := heed_ledger(home, now)) is not None:
        raise VerificationRefused(
            f"the clock ran backwards: it says {now:%Y-%m-%d %H:%M}Z, but the ledger has an event "
            f"of {seen:%Y-%m-%d %H:%M}Z",
            hint="set the clock of this host; if it was ahead before, see docs/trust.md, Time",
        )
