"""What the Hub's own scanners said: it may add a refusal, never an acceptance.

The Hub reports `securityRepoStatus` with `filesWithIssues` (path, level). A clean report says nothing
here: it is the server's word, and scanners miss what the gate is for.
"""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.check import Check, note, refuse
from pratique.vet.repo import Repo

_REMEDY: Final = (
    "leave the file behind (--without), or ask its publisher; the scan is on its Hub page"
)
_UNSAFE: Final = frozenset({"unsafe", "error", "infected"})
_MAX_SHOWN: Final = 50


def run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    """Yield what the Hub reports about files that are taken."""
    del policy
    status = repo.candidate.hub.get("securityRepoStatus")
    if status is None:
        return
    rows = status.get("filesWithIssues") if isinstance(status, dict) else False
    if not isinstance(rows, list | None):
        yield refuse(CHECK.id, "", "the Hub's scan report cannot be read", _REMEDY)
        return
    for row in (rows or [])[:_MAX_SHOWN]:
        path = row.get("path") if isinstance(row, dict) else None
        level = row.get("level") if isinstance(row, dict) else None
        if not isinstance(path, str) or not isinstance(level, str):
            yield refuse(CHECK.id, "", "the Hub's scan report cannot be read", _REMEDY)
            return
        if repo.entry(path) is None:
            continue  # a file that is not taken
        if level.casefold() in _UNSAFE:
            yield refuse(CHECK.id, path, f"the Hub's scanners call it {shown(level)}", _REMEDY)
        else:
            yield note(CHECK.id, path, f"the Hub's scanners call it {shown(level)}")


CHECK: Final = Check("hub-scan", "The Hub's own scanners found nothing unsafe", Stage.LISTING, run)
