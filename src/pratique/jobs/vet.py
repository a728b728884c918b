"""The gate's checks, inside the lock: one request in, one answer out. Imported by nobody."""

import os
from collections.abc import Callable


def run(request: bytes, note: Callable[[str], None]) -> bytes:
    """Examine the candidate that `request` names; `note` is told each file before it is read."""
    # Libraries that size thread pools by the machine would run into the lock's own limit.
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    from pratique.vet import wire
    from pratique.vet.display import displayed
    from pratique.vet.examine import examine

    candidate, policy, stage = wire.decode_request(request)
    return wire.encode_answer(
        examine(candidate, policy, stage, note=lambda text: note(displayed(text)))
    )
