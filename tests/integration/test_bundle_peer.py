"""The peer's own command line accepts what we sign, and we accept what it signs."""

import subprocess
import sys
from pathlib import Path

import pytest

from pratique.errors import VerificationRefused
from tests.support.bundles import World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("peer"))


def model_signing(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `model_signing` with this interpreter."""
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_peer_accepts_our_bundle(world: World) -> None:
    bundle = world.bundle()
    done = model_signing(
        "verify",
        "key",
        bundle / "payload",
        "--signature",
        bundle / "signatures/vetter.sig",
        "--public_key",
        world.root / "vera.pub",
        "--no-ignore-git-paths",
    )
    assert done.returncode == 0, done.stderr


def test_peer_refuses_a_changed_payload(world: World) -> None:
    bundle = world.bundle("changed")
    (bundle / "payload/model/config.json").write_bytes(b"{}\n")
    done = model_signing(
        "verify",
        "key",
        bundle / "payload",
        "--signature",
        bundle / "signatures/vetter.sig",
        "--public_key",
        world.root / "vera.pub",
    )
    assert done.returncode != 0


def test_we_accept_the_peers_signature(world: World) -> None:
    bundle = world.bundle("theirs")
    signature = bundle / "signatures/vetter.sig"
    signature.unlink()
    done = model_signing(
        "sign",
        "key",
        bundle / "payload",
        "--signature",
        signature,
        "--private_key",
        world.root / "vera.key",
    )
    assert done.returncode == 0, done.stderr
    verified = world.verify(bundle)
    assert verified.statement.ignored, "the peer records what it ignores by default"


def test_what_the_peer_ignores_may_not_exist(world: World) -> None:
    """Its default ignore list has .gitattributes: a file there would be under no signature."""
    bundle = world.bundle("ignored")
    signature = bundle / "signatures/vetter.sig"
    signature.unlink()
    (bundle / "payload/.gitattributes").write_bytes(b"* filter=evil\n")
    done = model_signing(
        "sign",
        "key",
        bundle / "payload",
        "--signature",
        signature,
        "--private_key",
        world.root / "vera.key",
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(VerificationRefused, match="gitattributes"):
        world.verify(bundle)
