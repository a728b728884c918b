"""Our SARIF validates against the standard's own schema."""

import hashlib
import json
from pathlib import Path

import jsonschema
import pytest

from pratique.core.findings import Disposition, Finding, PolicyRef, Severity, Subject, Verdict
from pratique.core.ids import Digest
from pratique.evidence.sarif import sarif_json, sarif_value

FOLDER = Path(__file__).parent / "sarif"
SCHEMA = FOLDER / "sarif-schema-2.1.0.json"
ZERO = Digest("0" * 64)


def _verdict(*findings: Finding) -> Verdict:
    return Verdict(
        Subject("name", ZERO, "org/name", "a" * 40, 3, 10), PolicyRef("strict", ZERO), findings
    )


FINDINGS = [
    Finding(
        "json", Severity.HIGH, Disposition.REFUSE, "config.json", "is not JSON", "write it again"
    ),
    Finding(
        "remote-code", Severity.MEDIUM, Disposition.APPROVE, "a b/ü.py", "is code", "read it", ZERO
    ),
    Finding(
        "remote-code",
        Severity.MEDIUM,
        Disposition.APPROVE,
        "c.py",
        "is code",
        "read it",
        ZERO,
        "reviewed (me)",
    ),
    Finding("licence", Severity.INFO, Disposition.NOTE, "", "licence: MIT", ""),
]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_valid(count: int) -> None:
    schema = json.loads(SCHEMA.read_text())
    value = sarif_value(_verdict(*FINDINGS[:count]))
    jsonschema.Draft4Validator(schema).validate(value)


def test_the_schema_is_the_standards() -> None:
    digest = hashlib.sha256(SCHEMA.read_bytes()).hexdigest()
    assert digest in (FOLDER / "SOURCE.md").read_text()


def test_says_what_the_verdict_says() -> None:
    run = json.loads(sarif_json(_verdict(*FINDINGS)))["runs"][0]
    assert [r["level"] for r in run["results"]] == ["error", "warning", "warning", "note"]
    assert run["properties"]["verdict"] == "FAILED"
    assert "suppressions" in run["results"][2]
    assert "suppressions" not in run["results"][1]
    assert (
        run["results"][1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        == "a%20b/%C3%BC.py"
    )
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert all(ids[r["ruleIndex"]] == r["ruleId"] for r in run["results"])
