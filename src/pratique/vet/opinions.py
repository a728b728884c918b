"""Second opinions: other scanners, where a policy asks and they are installed. They only ever refuse.

A scanner that is absent, fails or answers nonsense is noted: its silence proves nothing either way.
"""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pratique.confine import Ok, Requirement, parser_lock, run_job
from pratique.core.findings import Disposition, Finding, Severity
from pratique.core.policy import Policy
from pratique.errors import FormatError
from pratique.formats import json_strict

ID: Final = "second-opinion"
_MIB: Final = 2**20


def second_opinions(root: Path, policy: Policy) -> Iterator[Finding]:
    """Ask each scanner that the policy names; yield refusals, and notes on those that said nothing."""
    for scanner in policy.vet.second_opinions:
        if importlib.util.find_spec(scanner) is None:
            yield _note(f"{scanner} is asked for by the policy but not installed")
            continue
        reduced = policy.serve.lock == "reduced"
        lock = parser_lock(
            readable=[root],
            memory=4096 * _MIB,
            wall_seconds=900,
            threads=4,
            requirement=Requirement.REDUCED if reduced else Requirement.STRICT,
        )
        request = json.dumps({"scanner": scanner, "root": str(root)}).encode()
        result = run_job("pratique.jobs.second_opinion", request, lock, max_output=4 * _MIB)
        if not isinstance(result.outcome, Ok):
            yield _note(f"{scanner} gave no answer: it {result.describe()}")
            continue
        yield from parse_answer(scanner, result.outcome.data)


def parse_answer(scanner: str, data: bytes) -> Iterator[Finding]:
    """Turn a scanner's answer into refusals; an answer that cannot be read is a note."""
    try:
        answer = json_strict.parse(data)
    except FormatError:
        answer = None
    if not isinstance(answer, list):
        yield _note(f"{scanner} gave an answer that cannot be read")
        return
    for item in answer:
        match item:
            case [str(path), str(message)]:
                yield Finding(
                    ID,
                    Severity.HIGH,
                    Disposition.REFUSE,
                    path,
                    message,
                    f"see {scanner}'s own report",
                )
            case _:
                yield _note(f"{scanner} gave an answer that cannot be read")


def _note(message: str) -> Finding:
    return Finding(ID, Severity.INFO, Disposition.NOTE, "", message, "install it, or ask for none")
