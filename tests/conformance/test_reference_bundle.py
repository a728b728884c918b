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
