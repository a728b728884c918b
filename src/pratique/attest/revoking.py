"""Changing revocation lists: adding an entry, and undoing one with the signers' authority."""

from datetime import datetime

from pydantic import ValidationError

from pratique.attest.trustfile import Revocation, Revocations, first_problem, revocation_key
from pratique.errors import FormatError, UsageError


def revocation(*, kind: str, what: str, reason: str, at: datetime) -> Revocation:
    """Return a checked revocation. Raises UsageError if `what` is no id of that kind."""
    try:
        return Revocation.model_validate({"kind": kind, "id": what, "reason": reason, "at": at})
    except (ValidationError, FormatError) as error:
        problem = error.message if isinstance(error, FormatError) else first_problem(error)
        raise UsageError(
            f"this cannot be revoked: {problem}",
            hint="give the whole id, 64 hex digits; for an identity the person's name or address",
        ) from error


def with_revocation(old: Revocations, entry: Revocation) -> Revocations:
    """Return `old` with `entry`; of two for one thing the earlier time stays."""
    if any(_same(r, entry) and r.at <= entry.at for r in old.revoked):
        return old
    others = tuple(r for r in old.revoked if not _same(r, entry))
    return old.model_copy(update={"revoked": (*others, entry)})


def lifted(old: Revocations, entry: Revocation) -> Revocations:
    """Return `old` without what `entry` names, which also undoes earlier emergency revocations."""
    others = tuple(r for r in old.revoked if not _same(r, entry))
    before = tuple(r for r in old.lifted if not _same(r, entry))
    return old.model_copy(update={"revoked": others, "lifted": (*before, entry)})


def _same(one: Revocation, other: Revocation) -> bool:
    return revocation_key(one.kind, one.id) == revocation_key(other.kind, other.id)
