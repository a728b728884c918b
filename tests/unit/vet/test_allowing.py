"""Which finding an allowance answers for: same check and digest, and the limits that it names."""

from datetime import date
from pathlib import Path

import pytest

from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition, Finding, Severity
from pratique.core.ids import CommitSha, Digest, RepoId
from pratique.core.policy import Allowance, Policy
from pratique.vet.allowing import allow

CODE, OTHER = Digest("c0" * 32), Digest("0d" * 32)
COMMIT, ANOTHER = CommitSha("a1" * 20), CommitSha("b2" * 20)
TODAY = date(2026, 1, 31)


def candidate(**changes: object) -> Candidate:
    values = {"name": "tiny", "root": Path(), "repo": RepoId("org/tiny")}
    return Candidate(**(values | changes))  # type: ignore[arg-type]


def allowed(entry: dict[str, object], judged: Candidate, digest: Digest = CODE) -> bool:
    said = {
        "check": "remote-code", "digest": CODE, "reason": "read it all", "owner": "ann",
        "expires": date(2026, 12, 31),
    }  # fmt: skip
    policy = Policy.model_validate(
        {"schema": "pratique.policy/v1", "name": "x", "allow": (Allowance(**(said | entry)),)}  # type: ignore[arg-type]
    )
    finding = Finding(
        "remote-code", Severity.HIGH, Disposition.APPROVE, "m.py", "is code", "read it", digest
    )
    return allow([finding], policy, judged, TODAY, complete=False)[0].allowed_by is not None


MODEL = candidate(commit=COMMIT)
COPY = candidate(made_from=COMMIT)


@pytest.mark.parametrize("judged", [MODEL, COPY], ids=["model", "copy"])
@pytest.mark.parametrize(
    ("entry", "answers"),
    [
        ({}, True),
        ({"commit": COMMIT}, True),
        ({"commit": COMMIT, "repo": "org/tiny", "path": "m.py"}, True),
        ({"commit": ANOTHER}, False),
        ({"commit": COMMIT, "repo": "org/other"}, False),
        ({"commit": COMMIT, "path": "n.py"}, False),
        ({"commit": COMMIT, "digest": OTHER}, False),
        ({"commit": COMMIT, "check": "custom-generate"}, False),
        ({"commit": COMMIT, "expires": date(2026, 1, 30)}, False),
    ],
)
def test_limits(judged: Candidate, entry: dict[str, object], *, answers: bool) -> None:
    assert allowed(entry, judged) is answers


def test_what_converting_changed_is_not_answered_for() -> None:
    assert not allowed({"commit": COMMIT}, COPY, digest=OTHER)


def test_a_model_of_no_commit_is_not_of_that_one() -> None:
    assert not allowed({"commit": COMMIT}, candidate())
    assert allowed({}, candidate())
