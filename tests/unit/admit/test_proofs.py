"""AdmittedBundle and VerifiedBundle are made by their verifiers alone, and stay in their process."""

import copy
import pickle
from pathlib import Path

import pytest

from pratique.admit.admitted import AdmittedBundle, VerifiedBundle
from pratique.core.proof import Proof
from tests.support.bundles import World, make_world


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> list[Proof]:
    world: World = make_world(tmp_path_factory.mktemp("proofs"))
    bundle = world.bundle()
    return [world.verify(bundle), world.admit(bundle)]


@pytest.mark.parametrize("kind", [VerifiedBundle, AdmittedBundle])
def test_cannot_be_constructed(kind: type[Proof]) -> None:
    for arguments in ((), (1,)):
        with pytest.raises(TypeError):
            kind(*arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        type("Forged", (kind,), {})


def test_empty_shell_has_nothing() -> None:
    """object.__new__ cannot be forbidden; what it makes has no field to go by."""
    shell = object.__new__(AdmittedBundle)
    with pytest.raises(AttributeError):
        _ = shell.model_dir


def test_cannot_be_copied_pickled_or_changed(proofs: list[Proof]) -> None:
    for proof in proofs:
        for leave in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                leave(proof)
        with pytest.raises(AttributeError):
            proof.document = None  # type: ignore[attr-defined]
        with pytest.raises(AttributeError):
            proof.anything = Path("/")  # type: ignore[attr-defined]
        with pytest.raises(AttributeError):
            del proof.document  # type: ignore[attr-defined]
