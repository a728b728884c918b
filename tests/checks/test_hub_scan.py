"""The Hub's own scan may add a refusal, never an acceptance."""

from pathlib import Path
from typing import Any

import pytest

from pratique.core.candidate import Candidate, Listed
from pratique.core.findings import Disposition
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.checks import hub_scan
from pratique.vet.repo import Repo

POLICY = Policy.model_validate({"schema": "pratique.policy/v1", "name": "test"})


def look(tmp_path: Path, status: Any) -> list[Disposition]:
    candidate = Candidate(
        "x", tmp_path, listing=(Listed("a.bin", 3),), hub={"securityRepoStatus": status}
    )
    return [f.disposition for f in hub_scan.run(Repo(candidate, Stage.LISTING), POLICY)]


@pytest.mark.parametrize("level", ["unsafe", "UNSAFE", "infected", "error"])
def test_unsafe_is_refused(tmp_path: Path, level: str) -> None:
    issues = [{"path": "a.bin", "level": level}]
    assert look(tmp_path, {"filesWithIssues": issues}) == [Disposition.REFUSE]


@pytest.mark.parametrize(
    "status",
    ["clean", [], {"filesWithIssues": "x"}, {"filesWithIssues": [1]}, {"filesWithIssues": [{}]}],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, status: Any) -> None:
    assert look(tmp_path, status) == [Disposition.REFUSE]


@pytest.mark.parametrize(
    "status",
    [None, {}, {"scansDone": True, "filesWithIssues": []}, {"filesWithIssues": None},
     {"filesWithIssues": [{"path": "left-behind.bin", "level": "unsafe"}]}],
)  # fmt: skip
def test_no_report_says_nothing(tmp_path: Path, status: Any) -> None:
    assert look(tmp_path, status) == []


def test_suspicion_is_a_note(tmp_path: Path) -> None:
    issues = [{"path": "a.bin", "level": "suspicious"}]
    assert look(tmp_path, {"filesWithIssues": issues}) == [Disposition.NOTE]
