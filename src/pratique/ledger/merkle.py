"""The Merkle tree of RFC 6962, section 2.1, over SHA-256. Pure: hashes in, hashes out.

A leaf hash is SHA-256(0x00 || entry), a node hash SHA-256(0x01 || left || right), so no leaf can be
passed off as a node. Sizes count leaves. Every verifying function answers True or False and raises
nothing on malformed proofs: an odd proof is a false one.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
MAX_SIZE: Final = 1 << 53
"""Beyond this a size is no longer exact in every JSON reader."""

_sha256 = hashlib.sha256


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry (without its newline)."""
    return _sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node."""
    return _sha256(b"\x01" + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """The right edge of a growing tree: enough to append leaves and to know the root.

    `peaks` are the roots of the maximal perfect subtrees, largest (leftmost) first; there is one for
    each bit set in `size`.
    """

    size: int = 0
    peaks: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 <= self.size < MAX_SIZE or len(self.peaks) != self.size.bit_count():
            raise ValueError("a frontier needs one peak for each bit of its size")
        if any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise ValueError("a peak is a 32-byte hash")

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash. Costs one node hash on average."""
        size, peaks = self.size, self.peaks
        while size & 1:
            leaf = _sha256(b"\x01" + peaks.pop() + leaf).digest()
            size >>= 1
        peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the tree head at this size."""
        if not self.peaks:
            return EMPTY_ROOT
        head = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            head = node_hash(peak, head)
        return head

    def copy(self) -> "Frontier":
        """Return an independent copy."""
        return Frontier(self.size, list(self.peaks))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the tree head over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


Subtree = Callable[[int, int], bytes]
"""(first leaf, leaf after the last) → the hash of that subtree."""


def subtrees(base: Frontier, leaves: Sequence[bytes]) -> Subtree:
    """Give access to subtree hashes of a tree of which only `leaves` after `base` are still there.

    The subtrees that an audit path from a present leaf needs are made of present leaves and of whole
    peaks of `base`; for any other range the function raises LookupError.
    """
    known: dict[tuple[int, int], bytes] = {}
    start, first = 0, base.size
    for peak in base.peaks:
        width = 1 << ((first - start).bit_length() - 1)
        known[start, start + width] = peak
        start += width

    def hash_of(low: int, high: int) -> bytes:
        if (found := known.get((low, high))) is not None:
            return found
        if high - low == 1:
            if low < first:
                raise LookupError(f"leaf {low} is no longer there")
            return leaves[low - first]
        middle = low + _split(high - low)
        known[low, high] = found = node_hash(hash_of(low, middle), hash_of(middle, high))
        return found

    return hash_of


def inclusion_proof(hash_of: Subtree, index: int, size: int) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree of `size` leaves (RFC 6962, 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError("the leaf is not in the tree")
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(hash_of(middle, high))
            high = middle
        else:
            path.append(hash_of(low, middle))
            low = middle
    return path[::-1]


def consistency_proof(hash_of: Subtree, old: int, new: int) -> list[bytes]:
    """Return the proof that the tree of `old` leaves is a prefix of that of `new` (2.1.2)."""
    if not 0 < old <= new:
        raise ValueError("a consistency proof leads from a smaller, non-empty tree to a larger one")
    path: list[bytes] = []
    low, high, whole = 0, new, True
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(hash_of(middle, high))
            high = middle
        else:
            path.append(hash_of(low, middle))
            low, whole = middle, False
    if not whole:
        path.append(hash_of(low, high))
    return path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Say whether `path` proves that `leaf` is number `index` of the tree with this head.

    After RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size or any(len(step) != HASH_BYTES for step in path):
        return False
    node, last, head = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            head = node_hash(step, head)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            head = node_hash(head, step)
        node, last = node >> 1, last >> 1
    return last == 0 and head == root


def verify_consistency(
    old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]
) -> bool:
    """Say whether `path` proves that the larger tree only appended. After RFC 9162, 2.1.4.2."""
    if not 0 <= old <= new or any(len(step) != HASH_BYTES for step in path):
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    steps = [*([old_root] if old & (old - 1) == 0 else []), *path]
    return bool(steps) and _climb(old - 1, new - 1, steps) == (old_root, new_root)


def _climb(node: int, last: int, steps: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Fold a consistency proof into the old and the new root; None if it has the wrong length."""
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return None
        if node & 1 or node == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, step)
        node, last = node >> 1, last >> 1
    return (first, second) if last == 0 else None


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)
