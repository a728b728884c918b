"""What a home measured is kept, read again on the same machine, and ignored where it cannot count."""

import hashlib
import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pratique.core.calibration import MOST_KEPT, CalibrationDocument, Measurement
from pratique.core.rungs import Rung
from pratique.fit import Basis
from pratique.formats.calibration import encode
from pratique.serve import measured as module
from pratique.serve.measured import (
    machine_kind,
    measured_here,
    remember,
    sealed_runs,
    sealed_with,
    versions,
)

BUNDLE = "b" * 64


def run(peak: int, **changes: object) -> Measurement:
    torch, transformers = versions()
    given: dict[str, object] = {
        "rung": Rung.AUTO, "torch": torch, "transformers": transformers, "machine": machine_kind(2),
        "threads": 2, "context": 64, "rows": 1, "kv_tokens": 64, "base": 2**28, "loaded": 2**28,
        "peak": peak,
    }  # fmt: skip
    return Measurement(**{**given, **changes})  # type: ignore[arg-type]  # checked by pydantic


def test_of_the_same_demand_the_highest_is_kept(tmp_path):
    for peak in (2**29, 2**30, 2**28):
        remember(tmp_path, BUNDLE, run(peak))
    remember(tmp_path, BUNDLE, run(2**28, rows=2))
    found = measured_here(tmp_path, BUNDLE, cpus=2)
    assert sorted(known.measured.peak for known in found.known) == [2**28, 2**30]
    assert {known.basis for known in found.known} == {Basis.HERE}
    assert (tmp_path / "measured" / f"{BUNDLE}.json").stat().st_mode & 0o077 == 0


def test_other_versions_machines_and_bundles_do_not_count(tmp_path):
    remember(tmp_path, BUNDLE, run(2**30, torch="1.0"))
    remember(tmp_path, BUNDLE, run(2**30, machine="x86_64, another, 64 CPUs"))
    assert measured_here(tmp_path, BUNDLE, cpus=2).known == ()
    remember(tmp_path, BUNDLE, run(2**30))
    assert measured_here(tmp_path, BUNDLE, cpus=2).known
    assert measured_here(tmp_path, BUNDLE, cpus=3).known == ()
    assert measured_here(tmp_path, "c" * 64, cpus=2).known == ()
    (tmp_path / "measured" / f"{BUNDLE}.json").rename(tmp_path / "measured" / f"{'c' * 64}.json")
    other = measured_here(tmp_path, "c" * 64, cpus=2)
    assert other.known == ()
    assert "another bundle" in other.notes[0]


def test_the_oldest_go_when_there_are_too_many(tmp_path):
    for rows in range(1, MOST_KEPT + 6):
        remember(tmp_path, BUNDLE, run(2**30, rows=rows))
    kept = measured_here(tmp_path, BUNDLE, cpus=2).known
    assert len(kept) == MOST_KEPT
    assert min(known.measured.rows for known in kept) == 6


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff" * 100, b"[" * 10_000])
def test_a_broken_file_is_said_and_replaced(tmp_path, data):
    remember(tmp_path, BUNDLE, run(2**30))
    (tmp_path / "measured" / f"{BUNDLE}.json").write_bytes(data)
    found = measured_here(tmp_path, BUNDLE, cpus=2)
    assert found.known == ()
    assert "cannot be read" in found.notes[0]
    remember(tmp_path, BUNDLE, run(2**30))
    assert measured_here(tmp_path, BUNDLE, cpus=2).known


def test_a_sealed_calibration_counts_only_where_it_is_comparable():
    def of(**changes: object) -> module.Runs:
        document = CalibrationDocument(
            subject="a" * 64, architecture="LlamaForCausalLM",
            measured=run(2**30, machine=f"{platform.machine()}, another, 64 CPUs", **changes)
            if "machine" not in changes else run(2**30, **changes),
        )  # fmt: skip
        return sealed_runs(document, "a" * 64)

    assert [known.basis for known in of().known] == [Basis.SEALED]
    for other in ({"torch": "1.0"}, {"transformers": "4.0.0"}, {"machine": "vax, one, 1 CPUs"}):
        found = of(**other)
        assert found.known == ()
        assert "not used" in found.notes[0]
    document = CalibrationDocument(subject="a" * 64, architecture="X", measured=run(2**30))
    assert "other files" in sealed_runs(document, "c" * 64).notes[0]


def admitted(tmp_path: Path, data: bytes, **changes: object) -> Any:
    """What `sealed_with` reads of an admitted bundle."""
    path = tmp_path / "provenance" / "calibration.json"
    path.parent.mkdir()
    path.write_bytes(data)
    listed = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **changes}
    file = SimpleNamespace(path="provenance/calibration.json", **listed)
    document = SimpleNamespace(subject="a" * 64)
    return SimpleNamespace(files=(file,), model_dir=tmp_path / "model", document=document)


def test_the_calibration_of_an_admitted_bundle_is_read(tmp_path):
    document = CalibrationDocument(subject="a" * 64, architecture="X", measured=run(2**30))
    found = sealed_with(admitted(tmp_path, encode(document)))
    assert [known.measured.peak for known in found.known] == [2**30]
    assert found.notes == ()


@pytest.mark.parametrize(
    ("data", "changes"),
    [
        (b"", {}),
        (b"{}", {}),
        (b"[" * 5000, {}),
        (b"\xff\xfe", {}),
        (b'{"measured": {"peak": 1e400}}', {}),
        (b"{}", {"size": 2**30}),
        (b"{}", {"sha256": "0" * 64}),
    ],
)
def test_a_hostile_calibration_under_a_good_signature_stops_nothing(tmp_path, data, changes):
    found = sealed_with(admitted(tmp_path, data, **changes))
    assert found.known == ()
    assert len(found.notes) == 1
    assert "used" in found.notes[0] or "admitted" in found.notes[0]


def test_a_bundle_without_one_has_none(tmp_path):
    empty: Any = SimpleNamespace(files=(), model_dir=tmp_path)
    assert sealed_with(empty) == module.Runs()
