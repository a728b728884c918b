import copy
import pickle

import pytest

from pratique.attest.trustroot import TrustRoot
from pratique.attest.verify import VerifiedStatement
from pratique.core.proof import Proof, mint
from tests.support.trustkit import Kit


@pytest.fixture(scope="module")
def proofs(tmp_path_factory):
    kit = Kit(tmp_path_factory.mktemp("proof")).init()
    trust = kit.install()
    return trust, kit.verify(kit.good(), trust=trust)


@pytest.mark.parametrize("kind", [TrustRoot, VerifiedStatement])
@pytest.mark.parametrize("arguments", [(), ({},), (1, 2)])
def test_cannot_be_made(kind, arguments):
    with pytest.raises(TypeError):
        kind(*arguments)


@pytest.mark.parametrize("kind", [TrustRoot, VerifiedStatement])
def test_cannot_be_subclassed(kind):
    with pytest.raises(TypeError, match="cannot be subclassed"):
        type("Mine", (kind,), {})


def test_cannot_be_copied_or_carried(proofs):
    for proof in proofs:
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                attempt(proof)


def test_does_not_change(proofs):
    for proof in proofs:
        with pytest.raises(AttributeError, match="cannot be changed"):
            proof.enclave = "other"
        with pytest.raises(AttributeError, match="cannot be removed"):
            del proof.enclave
        assert not hasattr(proof, "__dict__")


def test_collections_in_it_do_not_change(proofs):
    trust, statement = proofs
    for mapping in (statement.files, trust.policies, trust.roles, trust.authorities.keys):
        with pytest.raises(TypeError):
            mapping["x"] = "y"


def test_mint_wants_every_field():
    class Tiny(Proof):
        __slots__ = ("a",)

    assert mint(Tiny, a=1).a == 1
    with pytest.raises(TypeError, match="has the fields"):
        mint(Tiny)
    with pytest.raises(TypeError, match="has the fields"):
        mint(Tiny, a=1, b=2)
