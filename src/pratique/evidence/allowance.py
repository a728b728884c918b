"""A finding that needs approval, as the policy entry that would answer for it."""

import json

from pratique.core.findings import Finding, Subject
from pratique.core.foreign import FOREIGN_CODE


def allowance_toml(finding: Finding, subject: Subject) -> str:
    """Return a `[[allow]]` table for `finding`, ready to complete: reason, owner and expiry are empty.

    It does not load as it stands: whoever answers for it has to say why, who and until when.
    """
    pinned = finding.check == FOREIGN_CODE  # whose finding is about a pin, not about a file
    lines = [
        "[[allow]]",
        f"check = {_text(finding.check)}",
        f"foreign = {_text(finding.path)}" if pinned else f"digest = {_text(finding.digest or '')}",
    ]
    if subject.repo is not None:
        lines.append(f"repo = {_text(subject.repo)}")
    if subject.commit is not None:
        lines.append(f"commit = {_text(subject.commit)}")
    if finding.path and not pinned:
        lines.append(f"path = {_text(finding.path)}")
    lines += ['reason = ""', 'owner = ""', "expires = # YYYY-MM-DD"]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's for what JSON escapes here."""
    return json.dumps(value)
