"""Measured runs that a plan may use: the one sealed with the bundle, and those of this very home.

Neither is trusted further than it goes: a sealed one must be of these files, these library versions and
this kind of processor; one of this home, of these versions and this machine. What is malformed or of
another kind is left out, with a word about it: it never stops a model from being served.
"""

import hashlib
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from pratique.admit.admitted import AdmittedBundle
from pratique.core.bundle import PROVENANCE
from pratique.core.calibration import (
    CALIBRATION,
    MAX_BYTES,
    MOST_KEPT,
    CalibrationDocument,
    KeptMeasurements,
    Measurement,
)
from pratique.core.ids import parse_bundle_id
from pratique.errors import FormatError
from pratique.fit import Basis, Known
from pratique.formats.calibration import encode, parse_calibration, parse_kept
from pratique.store import disk

FOLDER: Final = "measured"
_MAX_KEPT: Final = MOST_KEPT * 2**10
_PATH: Final = f"{PROVENANCE}/{CALIBRATION}"


@dataclass(frozen=True, slots=True)
class Runs:
    """Measurements that count here, and why others do not."""

    known: tuple[Known, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: "Runs") -> "Runs":
        return Runs(self.known + other.known, self.notes + other.notes)


def versions() -> tuple[str, str]:
    """The versions of torch and transformers that a worker would use, without importing either."""
    return metadata.version("torch"), metadata.version("transformers")


def machine_kind(cpus: int) -> str:
    """Architecture, processor and CPUs of this machine, in printable ASCII."""
    name = ""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
        found = (line.partition(":")[2] for line in text.splitlines() if line.startswith("model n"))
        name = next(found, "").strip()
    except OSError:
        pass
    kind = f"{platform.machine()}, {name or 'unnamed processor'}, {cpus} CPUs"
    return "".join(c for c in kind if " " <= c <= "~")[:160]


def sealed_with(admitted: AdmittedBundle) -> Runs:
    """Read the calibration that was sealed with a bundle, if there is one that counts."""
    listed = next((file for file in admitted.files if file.path == _PATH), None)
    if listed is None:
        return Runs()
    path = admitted.model_dir.parent / _PATH
    try:
        if listed.size > MAX_BYTES:
            raise FormatError("calibration.json is too large")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != listed.sha256:
            return Runs(notes=("the sealed calibration is not what was admitted: not used",))
        return sealed_runs(parse_calibration(data), admitted.document.subject)
    except (OSError, FormatError) as error:
        words = error.message if isinstance(error, FormatError) else error.strerror
        return Runs(notes=(f"the sealed calibration is not used: {words}",))


def sealed_runs(document: CalibrationDocument, subject: str) -> Runs:
    """Keep a sealed calibration if it is of these files and comparable with a run here."""
    if document.subject != subject:
        return Runs(notes=("the sealed calibration is of other files: not used",))
    measured, (torch, transformers) = document.measured, versions()
    if (measured.torch, measured.transformers) != (torch, transformers):
        made = f"torch {measured.torch}, transformers {measured.transformers}"
        return Runs(notes=(f"the sealed calibration was made with {made}: not used",))
    if measured.machine.split(",")[0] != platform.machine():
        return Runs(notes=("the sealed calibration was made on another architecture: not used",))
    return Runs((Known(Basis.SEALED, measured),))


def measured_here(home: Path, bundle_id: str, *, cpus: int) -> Runs:
    """Read what this home measured of a bundle, with these versions, on this machine."""
    kept, problem = _read(home, bundle_id)
    if problem:
        return Runs(notes=(problem,))
    key = (*versions(), machine_kind(cpus))
    return Runs(
        tuple(Known(Basis.HERE, m) for m in kept if (m.torch, m.transformers, m.machine) == key)
    )


def remember(home: Path, bundle_id: str, measured: Measurement) -> None:
    """Keep a measurement; of several of the same demand, the highest. The oldest go first.

    Raises StorageError if it cannot be written.
    """
    kept, _ = _read(home, bundle_id)
    same = [m for m in kept if _demand(m) == _demand(measured)]
    highest = max((*same, measured), key=lambda m: m.peak)
    others = [m for m in kept if m not in same]
    document = KeptMeasurements(bundle=bundle_id, measured=tuple([*others, highest][-MOST_KEPT:]))
    path = _place(home, bundle_id)
    with disk.storing(str(path)):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        disk.replace_file(path, encode(document), 0o600)


def _read(home: Path, bundle_id: str) -> tuple[tuple[Measurement, ...], str]:
    """What is kept, or why it cannot be read."""
    try:
        with _place(home, bundle_id).open("rb") as file:
            document = parse_kept(file.read(_MAX_KEPT + 1))
    except FileNotFoundError:
        return (), ""
    except (OSError, FormatError):
        return (), "this home's measurements of the bundle cannot be read: not used"
    if document.bundle != bundle_id:
        return (), "this home's measurements are of another bundle: not used"
    return document.measured, ""


def _demand(measured: Measurement) -> tuple[object, ...]:
    return tuple(
        getattr(measured, name)
        for name in (
            "rung", "torch", "transformers", "machine", "context", "rows", "kv_tokens", "sealed_copy",
            "packed",
        )
    )  # fmt: skip


def _place(home: Path, bundle_id: str) -> Path:
    return home / FOLDER / f"{parse_bundle_id(bundle_id)}.json"
