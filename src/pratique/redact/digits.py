"""Runs of digits with separators, found once for each view and shared by the number detectors.

The rule: a cluster is a longest run of digits with at most three separators between two of
them; numbers are looked for inside of clusters only, in work linear in the cluster.
"""

from bisect import bisect_left
from typing import NamedTuple

from pratique.redact.pattern import Pattern
from pratique.redact.view import View

_CLUSTER = Pattern(r"\+?[ ]?\(?\d(?:(?:[ \t\r\n.\-/()_,'*|\x01]{1,3})?\d){5,}")
_MIN_DIGITS = 6


class Cluster(NamedTuple):
    """A run of digits: where it stands, its digits, where each stands, and its groups.

    `groups` are (first, last + 1) indexes into `digits` of runs without a separator.
    """

    start: int
    end: int
    digits: str
    at: list[int]
    groups: list[tuple[int, int]]

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return the place in the view of the digits ``first`` to ``last``, last excluded."""
        return self.at[first], self.at[last - 1] + 1

    def sizes(self, first: int, last: int) -> tuple[int, ...]:
        """Return how many digits each group has that lies in the digits ``first`` to ``last``."""
        out = []
        index = bisect_left(self.groups, (first, first))
        while index < len(self.groups) and self.groups[index][1] <= last:
            out.append(self.groups[index][1] - self.groups[index][0])
            index += 1
        return tuple(out)


def clusters(view: View) -> list[Cluster]:
    """Return the clusters of at least six digits in ``view``, from left to right."""
    found: list[Cluster] | None = view.memo.get(clusters)
    if found is None:
        found = [
            c
            for m in _CLUSTER.matches(view)
            if len((c := _cluster(view, *m.span())).digits) >= _MIN_DIGITS
        ]
        view.memo[clusters] = found
    return found


def _cluster(view: View, start: int, end: int) -> Cluster:
    skeleton = view.skeleton
    at = [i for i in range(start, end) if 0x30 <= skeleton[i] <= 0x39]
    groups: list[tuple[int, int]] = []
    first = 0
    for index in range(1, len(at) + 1):
        if index == len(at) or at[index] != at[index - 1] + 1:
            groups.append((first, index))
            first = index
    digits = "".join(chr(skeleton[i]) for i in at)
    return Cluster(start, end, digits, at, groups)


def attached(view: View, start: int, end: int) -> bool:
    """Say whether a letter, digit or underscore touches the range, so that it is part of a word."""
    skeleton = view.skeleton
    return (start > 0 and _wordlike(skeleton[start - 1])) or (
        end < len(skeleton) and _wordlike(skeleton[end])
    )


def _wordlike(byte: int) -> bool:
    return (chr(byte).isalnum() and byte != 0x82) or byte == 0x5F
