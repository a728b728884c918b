"""The whole error tree: every failure says what was refused, why, and what to do.

::

    PratiqueError                  exit code
    ├── UsageError                  2   the command line or an argument is off
    ├── PolicyError                 3   the policy itself cannot be used
    ├── FetchError                  4   transport, server, or commit proof
    ├── UnreadableInput             5   a path or file of the user's cannot be read
    │   └── FormatError             5   bytes that a strict parser refused
    ├── SealError                   6   sealing or signing; a missing or wrong key too
    ├── StorageError                7   disk full, I/O
    ├── VettingRefused             10   the gate's answer was FAILED
    ├── VerificationRefused        11   a signature, digest or admission was refused
    ├── ServeError                 12   loading or serving
    ├── ConfinementError           12   the lock cannot be closed on this host
    ├── ApprovalNeeded             13   the gate's answer was NEEDS_APPROVAL
    ├── TransferRefused            14   parts, parity or receipts do not agree
    └── LedgerNotIntact            15   the log of use was edited, cut or forked

Exit code 1 is never one of these: it means a bug, and says "no decision was made".
Misuse of the API is TypeError or RuntimeError, outside the tree.
"""

from typing import ClassVar


class PratiqueError(Exception):
    """Something was refused or could not be done.

    Args:
        message: one line, what was refused and why.
        hint: one line, what to do next; without one, `usual_hint` is shown.
    """

    exit_code: ClassVar[int] = 1
    usual_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(PratiqueError):
    """The command line or an argument is off."""

    exit_code = 2
    usual_hint = "see `pratique COMMAND --help`"


class PolicyError(PratiqueError):
    """The policy cannot be read, or contradicts itself."""

    exit_code = 3
    usual_hint = "run `pratique policy check FILE`; see docs/policies.md"


class FetchError(PratiqueError):
    """Transport, server or commit proof failed; nothing of it was accepted."""

    exit_code = 4


class UnreadableInput(PratiqueError):
    """A path or file that the user named cannot be read."""

    exit_code = 5
    usual_hint = "check what was given, and that it arrived whole"


class FormatError(UnreadableInput):
    """Bytes that a strict parser refused."""


class SealError(PratiqueError):
    """Sealing or signing failed, a missing or wrong key included."""

    exit_code = 6


class StorageError(PratiqueError):
    """The disk is full, or reading or writing failed."""

    exit_code = 7
    usual_hint = (
        "check the path, who may read and write there, and the space left; then run it again"
    )


class VettingRefused(PratiqueError):
    """The gate refused: the verdict is FAILED."""

    exit_code = 10


class VerificationRefused(PratiqueError):
    """A signature, a digest, a role or an admission was refused."""

    exit_code = 11


class ServeError(PratiqueError):
    """The model could not be loaded or served."""

    exit_code = 12


class ConfinementError(PratiqueError):
    """The lock cannot be closed on this host, so nothing was started."""

    exit_code = 12


class ApprovalNeeded(PratiqueError):
    """The gate's answer is NEEDS_APPROVAL: somebody must answer for a finding."""

    exit_code = 13


class TransferRefused(PratiqueError):
    """Parts, parity or receipts do not agree with what was sent."""

    exit_code = 14


class LedgerNotIntact(PratiqueError):
    """The log of use was edited, cut, rewritten or forked."""

    exit_code = 15
