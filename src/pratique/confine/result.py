"""What held, and how a child ended: every ending is one of six typed outcomes, never a traceback.

Everything here is made by the parent or, before any hostile byte is read, by the child's own start.
"""

import re
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

_ALWAYS = frozenset({"no-new-privileges", "capabilities", "limits", "seccomp"})
_NAMESPACES = frozenset({"network", "pid", "mount"})
_SECOND_LOCK_LANDLOCK_ABI = 3  # before it, truncation of a foreign file is not ruled (Linux 6.2)


class Form(StrEnum):
    """Which full lock holds, if one does."""

    NAMESPACES = "namespaces + Landlock + seccomp"
    OTHER_UID = "another uid + Landlock + seccomp"
    PRIVATE_UNIT = "a private network + Landlock + seccomp"
    REDUCED = "reduced: seccomp and what else the host has"
    NONE = "no lock"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the lock: whether it holds in this child, and why or how."""

    name: str
    held: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Confinement:
    """The layers of one child, as found by its own start before it read a foreign byte."""

    layers: tuple[Layer, ...]
    landlock_abi: int = 0

    @property
    def form(self) -> Form:
        """Which full lock these layers make."""
        held = {layer.name for layer in self.layers if layer.held}
        if not held >= _ALWAYS:
            return Form.NONE
        if "landlock" not in held:
            return Form.REDUCED
        if held >= _NAMESPACES:
            return Form.NAMESPACES
        if self.landlock_abi < _SECOND_LOCK_LANDLOCK_ABI:
            return Form.REDUCED
        if "uid" in held:
            return Form.OTHER_UID
        return Form.PRIVATE_UNIT if "network" in held else Form.REDUCED

    @property
    def strict(self) -> bool:
        """Whether one of the full locks holds."""
        return self.form in {Form.NAMESPACES, Form.OTHER_UID, Form.PRIVATE_UNIT}

    @property
    def lacking(self) -> tuple[Layer, ...]:
        """The layers that do not hold, with the reason of each."""
        return tuple(layer for layer in self.layers if not layer.held)

    def holds(self, name: str) -> bool:
        """Whether the layer of that name holds."""
        return any(layer.held for layer in self.layers if layer.name == name)

    def to_json(self) -> dict[str, object]:
        """Plain values: `form`, `strict`, `landlock_abi`, `layers`."""
        return {
            "form": self.form.value,
            "strict": self.strict,
            "landlock_abi": self.landlock_abi,
            "layers": [
                {"name": layer.name, "held": layer.held, "detail": layer.detail}
                for layer in self.layers
            ],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> "Confinement":
        """The inverse of `to_json`; raises ValueError or TypeError on anything else."""
        layers, abi = value.get("layers"), value.get("landlock_abi")
        if not isinstance(layers, list) or not isinstance(abi, int):
            raise TypeError("not a confinement report")
        return cls(tuple(_layer(item) for item in layers), abi)


def _layer(item: Mapping[str, object]) -> Layer:
    return Layer(str(item["name"]), item["held"] is True, str(item["detail"]))


@dataclass(frozen=True, slots=True)
class Ok:
    """It ended well; `data` is its answer (empty for a service). The answer is still hostile."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """Its program raised, or broke the protocol; `error` is a class name, never free text."""

    error: str


@dataclass(frozen=True, slots=True)
class Died:
    """A signal killed it that nobody here sent. SIGSYS: it tried a call of another architecture."""

    signal: int


@dataclass(frozen=True, slots=True)
class TimedOut:
    """It used up its wall-clock or CPU time and was killed."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TooMuchOutput:
    """It wrote a longer answer than `limit` bytes and was killed."""

    limit: int


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """It reached its memory limit, or the kernel's."""


Outcome = Ok | Failed | Died | TimedOut | TooMuchOutput | OutOfMemory


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of one job.

    `last_note` is the last thing it said it was doing (control characters replaced, at most 512
    characters), `stderr` the tail of what it printed, for a debug log only: both are hostile text.
    """

    outcome: Outcome
    confinement: Confinement
    last_note: str
    stderr: str
    wall_seconds: float

    def describe(self) -> str:
        """How it ended, in words that complete "the child …"."""
        said = describe(self.outcome)
        return f"{said} while at {self.last_note}" if self.last_note else said


def describe(outcome: Outcome) -> str:
    """How a child ended, in words that complete "the child …"."""
    match outcome:
        case Ok():
            return "ended well"
        case Failed(error=error):
            return f"failed ({error})"
        case Died(signal=number):
            return f"was killed by {signal_name(number)}"
        case TimedOut(seconds=seconds):
            return f"did not end within {seconds:g} s"
        case TooMuchOutput(limit=limit):
            return f"wrote more than {limit} bytes"
        case OutOfMemory():
            return "ran out of memory"


def signal_name(number: int) -> str:
    """`SIGSEGV` for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def printable(text: str, limit: int = 512) -> str:
    """Hostile text made fit for one line of a terminal or a report."""
    return "".join(char if char.isprintable() else "�" for char in text[:limit])


def error_name(text: str) -> str:
    """A class name out of what a child said: letters, digits, dots; anything else is refused."""
    return text if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,79}", text) else "ProtocolError"


def names(layers: Iterable[Layer]) -> str:
    """`pid, network (why); mount (why)`: layers that share a reason share its mention."""
    by_reason: dict[str, list[str]] = {}
    for layer in layers:
        by_reason.setdefault(layer.detail, []).append(layer.name)
    return "; ".join(f"{', '.join(found)} ({why})" for why, found in by_reason.items())
