"""RFC 6962 trees against the reference vectors of the Certificate Transparency project.

Vectors: google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc (Apache-2.0); leaf inputs,
roots of every prefix, audit paths and consistency proofs.
"""

import pytest

from pratique.ledger import merkle

INPUTS = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (leaf number, tree size) -> audit path
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
# (old size, new size) -> consistency proof
CONSISTENT = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}

LEAVES = [merkle.leaf_hash(data) for data in INPUTS]
whole_tree = merkle.subtrees(merkle.Frontier(), LEAVES)


@pytest.mark.parametrize("size", range(9))
def test_roots(size):
    assert merkle.root_of(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("place", "path"), PATHS.items())
def test_audit_paths(place, path):
    index, size = place
    made = merkle.inclusion_proof(whole_tree, index, size)
    assert [step.hex() for step in made] == path
    assert merkle.verify_inclusion(LEAVES[index], index, size, made, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("sizes", "path"), CONSISTENT.items())
def test_consistency_proofs(sizes, path):
    old, new = sizes
    made = merkle.consistency_proof(whole_tree, old, new)
    assert [step.hex() for step in made] == path
    roots = (bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]))
    assert merkle.verify_consistency(old, roots[0], new, roots[1], made)


def test_a_leaf_is_no_node():
    left, right = LEAVES[:2]
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


@pytest.mark.parametrize(
    "change", ["leaf", "index", "size", "path", "short", "long", "step", "root"]
)
def test_a_wrong_inclusion_proof_is_refused(change):
    leaf, index, size, root = LEAVES[5], 5, 8, bytes.fromhex(ROOTS[8])
    path = merkle.inclusion_proof(whole_tree, index, size)
    wrong = {
        "leaf": (LEAVES[4], index, size, path, root),
        "index": (leaf, 4, size, path, root),
        "size": (leaf, index, 16, path, root),
        "path": (leaf, index, size, path[::-1], root),
        "short": (leaf, index, size, path[:-1], root),
        "long": (leaf, index, size, [*path, path[0]], root),
        "step": (leaf, index, size, [path[0][:31], *path[1:]], root),
        "root": (leaf, index, size, path, bytes(32)),
    }
    assert not merkle.verify_inclusion(*wrong[change])


def test_a_leaf_beyond_the_tree_is_refused():
    assert not merkle.verify_inclusion(LEAVES[0], 8, 8, [], LEAVES[0])
    assert not merkle.verify_inclusion(LEAVES[0], -1, 8, [], LEAVES[0])


def test_wrong_consistency_proofs_are_refused():
    old, new = bytes.fromhex(ROOTS[6]), bytes.fromhex(ROOTS[8])
    path = merkle.consistency_proof(whole_tree, 6, 8)
    assert not merkle.verify_consistency(6, new, 8, old, path)
    assert not merkle.verify_consistency(6, old, 8, new, path[:-1])
    assert not merkle.verify_consistency(6, old, 8, new, [*path, path[0]])
    assert not merkle.verify_consistency(8, new, 6, old, path)
    assert not merkle.verify_consistency(6, old, 8, new, [])
    assert not merkle.verify_consistency(6, old, 6, new, [])
    assert not merkle.verify_consistency(0, old, 8, new, [])
    assert merkle.verify_consistency(0, merkle.EMPTY_ROOT, 8, new, [])


@pytest.mark.parametrize(("size", "peaks"), [(1, []), (2, [b"x" * 31]), (-1, []), (0, [bytes(32)])])
def test_a_frontier_with_other_peaks_than_its_size_has_is_refused(size, peaks):
    with pytest.raises(ValueError, match="peak"):
        merkle.Frontier(size, peaks)


def test_without_the_old_leaves_the_peaks_still_prove_the_rest():
    base = merkle.Frontier()
    for leaf in LEAVES[:5]:
        base.append(leaf)
    part = merkle.subtrees(base, LEAVES[5:])
    for index in (5, 6, 7):
        path = merkle.inclusion_proof(part, index, 8)
        assert merkle.verify_inclusion(LEAVES[index], index, 8, path, bytes.fromhex(ROOTS[8]))
    with pytest.raises(LookupError):
        merkle.inclusion_proof(part, 2, 8)
