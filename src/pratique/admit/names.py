"""What a name may point at next: forwards freely, backwards only with a reason that is kept."""

from pratique.errors import VerificationRefused
from pratique.store.records import AdmissionRecord, Alias, Move


def next_alias(
    name: str,
    current: Alias | None,
    held: AdmissionRecord | None,
    new: AdmissionRecord,
    *,
    rollback: str | None,
) -> Alias:
    """Return the name after it was pointed at `new`.

    `current` is the name as it is, `held` the record of the bundle it points at. A bundle is older
    if its commit is (where both were proven), or if its snapshot was taken earlier; where `held` is
    missing nobody can tell, which counts as older.

    Raises VerificationRefused if `new` is older and no `rollback` reason is given.
    """
    if current is not None and current.bundle_id == new.bundle_id:
        return current
    back = current is not None and (held is None or is_older(new, held))
    if back and not rollback:
        if held is None:
            raise VerificationRefused(
                f"what {name} points at now has lost its record, so nothing shows that "
                f"{new.label} is not older",
                hint='admit that bundle again first, or give --rollback "REASON"',
            )
        raise VerificationRefused(
            f"{new.label} is older than what {name} points at now",
            hint='give --rollback "REASON" to go back on purpose, or another name with --as',
        )
    move = Move(bundle_id=new.bundle_id, at=new.admitted_at, reason=rollback if back else None)
    moves = (*(current.moves if current else ()), move)
    return Alias(schema="pratique.alias/v1", name=name, moves=moves)


def is_older(new: AdmissionRecord, held: AdmissionRecord) -> bool:
    """Whether `new` came before `held`, by commit time or by when the snapshot was taken."""
    times = new.commit_time, held.commit_time
    if times[0] is not None and times[1] is not None and times[0] != times[1]:
        return times[0] < times[1]
    return new.taken_at < held.taken_at
