"""Inside, the policy that the trust set carries comes before the built-in one of the same name."""

from pathlib import Path

import pytest

from pratique.attest.install import install
from pratique.attest.keys import load_signer
from pratique.attest.repository import Repository
from pratique.errors import PolicyError
from pratique.flows.enclave_policy import enclave_policy
from pratique.formats.policy import load_policy
from tests.support.bundles import NOW, World, make_world

OWN = b'schema = "pratique.policy/v1"\nname = "strict"\ncrypto = "fips"\n'


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def carry(world: World, name: str, data: bytes) -> None:
    """Put a policy into the trust set and install the update."""
    admin = load_signer(world.root / "admin.key")
    repository = Repository(world.trust_set)
    repository.change(lambda files: {**files, f"policies/{name}": data}, [admin], NOW)
    install(world.home, world.trust_set, now=NOW, confirm=lambda seen: seen)


def test_carried_policy_comes_first(world: World) -> None:
    assert enclave_policy(world.home, "strict") == load_policy("strict")
    carry(world, "strict.toml", OWN)
    assert enclave_policy(world.home, "strict").crypto == "fips"
    assert enclave_policy(world.home, "standard") == load_policy("standard")


def test_no_trust_yet(tmp_path: Path) -> None:
    assert enclave_policy(tmp_path, "strict") == load_policy("strict")


def test_file_by_path(world: World, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(OWN.replace(b"strict", b"mine"))
    assert enclave_policy(world.home, str(path)).name == "mine"


def test_unknown_name_and_broken_policy(world: World) -> None:
    with pytest.raises(PolicyError):
        enclave_policy(world.home, "unheard-of")
    carry(world, "broken.toml", b'schema = "pratique.policy/v1"\nname = "broken"\nlock = "off"\n')
    with pytest.raises(PolicyError, match="of enclave lab"):
        enclave_policy(world.home, "broken")
