"""A bundle that was sealed once must verify in every later version, and its copies must not.

Made by scripts/make_reference_bundle.py with keys that no longer exist. The clock is that of the day
after it was made: approvals expire, formats do not.
"""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pratique.admit.verify import verify_bundle
from pratique.attest.install import trust_from_directory
from pratique.cli.main import run
from pratique.errors import VerificationRefused
from pratique.formats.policy import load_policy
from tests.support.models import flip_byte

HERE = Path(__file__).parent
VERSIONS = sorted(path.name for path in HERE.glob("bundle-v*"))


def facts(version: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((HERE / version / "facts.json").read_text(encoding="utf-8"))
    return found


def day_after(version: str) -> datetime:
    return datetime.fromisoformat(facts(version)["made"]).replace(tzinfo=UTC) + timedelta(days=1)


def test_there_is_one() -> None:
    assert VERSIONS == ["bundle-v1"]


@pytest.mark.parametrize("version", VERSIONS)
def test_it_still_verifies(version: str) -> None:
    known = facts(version)
    trust = trust_from_directory(HERE / version / "trust", known["fingerprint"])
    verified = verify_bundle(
        HERE / version / known["bundle"],
        trust=trust,
        policy=load_policy("strict"),
        now=day_after(version),
    )
    assert verified.bundle_id == known["bundle_id"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_flipped_bit_of_it_does_not(version: str, tmp_path: Path) -> None:
    known = facts(version)
    bundle = tmp_path / known["bundle"]
    shutil.copytree(HERE / version / known["bundle"], bundle)
    flip_byte(bundle / "payload" / "model" / "tokenizer.json", 100)
    trust = trust_from_directory(HERE / version / "trust", known["fingerprint"])
    with pytest.raises(VerificationRefused, match=r"tokenizer\.json"):
        verify_bundle(bundle, trust=trust, policy=load_policy("strict"), now=day_after(version))


@pytest.mark.parametrize("version", VERSIONS)
def test_its_approval_expires(version: str) -> None:
    known = facts(version)
    trust = trust_from_directory(HERE / version / "trust", known["fingerprint"])
    with pytest.raises(VerificationRefused):
        verify_bundle(
            HERE / version / known["bundle"],
            trust=trust,
            policy=load_policy("strict"),
            now=day_after(version) + timedelta(days=400),
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_an_auditor_can_ask_as_of_a_day(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever today is: the approval of that day counts on that day."""
    known = facts(version)
    words = [
        "verify", str(HERE / version / known["bundle"]), "--trust", str(HERE / version / "trust"),
        "--root-fingerprint", known["fingerprint"], "--as-of", known["made"], "--json",
    ]  # fmt: skip
    assert run(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["verified"], said["as_of"]) == (True, known["made"])


@pytest.mark.parametrize("day", ["2026-11-19", "2999-01-01"])
def test_days_that_cannot_be_judged(day: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the trust set was issued, and in the future."""
    known = facts("bundle-v1")
    words = [
        "verify", str(HERE / "bundle-v1" / known["bundle"]),
        "--trust", str(HERE / "bundle-v1" / "trust"), "--root-fingerprint", known["fingerprint"],
        "--as-of", day,
    ]  # fmt: skip
    assert run(words) in {2, 11}
    assert "refused:" in capsys.readouterr().err
