"""The gate as the verbs use it: on this machine, out of reach of keys and log."""

from pathlib import Path

from pratique.cli.context import Context
from pratique.core.candidate import Gate
from pratique.core.policy import Policy


def local_gate(context: Context, policy: Policy, *secrets: Path) -> Gate:
    """Return the gate under `policy`. Its children cannot reach the home's keys and log, or `secrets`."""
    from pratique.vet import LocalGate

    forbidden = (context.home / "keys", context.home / "ledger", *secrets)
    return LocalGate(policy, forbidden=forbidden)
