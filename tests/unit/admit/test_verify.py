"""Verifying where it lies: the steps in their order, and a part of a bundle."""

import contextlib
from pathlib import Path

import pytest

from pratique.admit.verify import verify_bundle, verify_part
from pratique.attest.install import installed_trust
from pratique.attest.values import Step
from pratique.errors import UsageError, VerificationRefused
from tests.support.bundles import FIPS, NOW, POLICY, World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def steps_of(world: World, bundle: Path) -> list[str]:
    steps: list[Step] = []
    with contextlib.suppress(VerificationRefused):
        verify_bundle(
            bundle, trust=installed_trust(world.home), policy=POLICY, now=NOW, note=steps.append
        )
    return [step.name for step in steps]


def part(world: World, bundle: Path, only: str) -> None:
    trust = installed_trust(world.home)
    verify_part(bundle, only, trust=trust, policy=POLICY, now=NOW)


def test_steps_are_taken_in_the_stated_order(world: World) -> None:
    assert steps_of(world, world.bundle()) == [
        "shape", "size", "signature", "signature", "payload type", "predicate", "statement", "trust",
        "listing", "content", "sums", "document", "commit",
    ]  # fmt: skip


def test_content_is_not_read_before_the_signatures_hold(world: World) -> None:
    bundle = world.sealed()  # not approved
    (bundle / "payload/model/config.json").write_bytes(b"changed")
    assert steps_of(world, bundle) == ["shape"]


def test_nothing_is_parsed_before_its_bytes_hold(world: World) -> None:
    bundle = world.bundle()
    (bundle / "payload/bundle.json").write_bytes(b"[" * 100_000)
    assert steps_of(world, bundle)[-1] == "trust"


def test_fips_reads_no_blake3(world: World) -> None:
    bundle = world.bundle()
    verify_bundle(bundle, trust=installed_trust(world.home), policy=FIPS, now=NOW)


def test_part_holds_although_the_rest_does_not(world: World) -> None:
    bundle = world.bundle()
    (bundle / "payload/model/model.safetensors").write_bytes(b"changed")
    part(world, bundle, "model/config.json")
    part(world, bundle, "evidence")
    part(world, bundle, "model/1_Pooling/")
    with pytest.raises(VerificationRefused, match=r"model\.safetensors"):
        part(world, bundle, "model")


def test_part_with_an_extra_or_missing_file(world: World) -> None:
    bundle = world.bundle()
    (bundle / "payload/model/1_Pooling/x").touch()
    with pytest.raises(VerificationRefused, match="1_Pooling/x"):
        part(world, bundle, "model/1_Pooling")
    (bundle / "payload/model/config.json").unlink()
    with pytest.raises(VerificationRefused, match="missing"):
        part(world, bundle, "model/config.json")


def test_part_that_was_never_signed(world: World) -> None:
    bundle = world.bundle()
    with pytest.raises(UsageError) as caught:
        part(world, bundle, "model/absent.json")
    assert "payload/" in caught.value.hint
