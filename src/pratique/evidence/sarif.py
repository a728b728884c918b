"""A verdict as SARIF 2.1.0: one rule per check, one result per finding, allowed ones suppressed.

(OASIS, Static Analysis Results Interchange Format 2.1.0)
"""

import json
from typing import Any, Final
from urllib.parse import quote

from pratique import __version__
from pratique.core.findings import Disposition, Finding, Severity, Verdict

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_DOCS: Final = "https://github.com/pratique/pratique/blob/main/docs/checks.md"
_LEVELS: Final = {
    Disposition.REFUSE: "error",
    Disposition.APPROVE: "warning",
    Disposition.NOTE: "note",
}
# GitHub's reading of CVSS for `security-severity`.
_SCORES: Final = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "2.0",
    Severity.INFO: "0.0",
}


def sarif_value(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as a SARIF log with one run."""
    rules = list(dict.fromkeys(finding.check for finding in verdict.findings))
    subject = verdict.subject
    run = {
        "tool": {
            "driver": {
                "name": "pratique",
                "version": __version__,
                "informationUri": "https://github.com/pratique/pratique",
                "rules": [{"id": rule, "helpUri": f"{_DOCS}#{rule}"} for rule in rules],
            }
        },
        "invocations": [{"executionSuccessful": True}],
        "results": [_result(f, rules.index(f.check)) for f in verdict.findings],
        "properties": {
            "verdict": verdict.state.value,
            "subject": {
                "name": subject.name,
                "digest": subject.digest,
                "repo": subject.repo,
                "commit": subject.commit,
            },
            "policy": {"name": verdict.policy.name, "digest": verdict.policy.digest},
        },
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def sarif_json(verdict: Verdict) -> bytes:
    """Return the log as bytes: sorted keys, indented, the same for the same verdict."""
    return (json.dumps(sarif_value(verdict), indent=1, sort_keys=True) + "\n").encode()


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    text = finding.message
    if finding.remediation:
        text += f" — {finding.remediation}"
    result: dict[str, Any] = {
        "ruleId": finding.check,
        "ruleIndex": rule,
        "level": _LEVELS[finding.disposition],
        "message": {"text": text},
        "properties": {
            "disposition": finding.disposition.value,
            "severity": finding.severity.value,
            "security-severity": _SCORES[finding.severity],
        },
    }
    if finding.path:
        location = {"artifactLocation": {"uri": quote(finding.path)}}
        result["locations"] = [{"physicalLocation": location}]
    if finding.digest is not None:
        result["partialFingerprints"] = {"sha256/v1": finding.digest}
    if finding.allowed_by is not None:
        result["suppressions"] = [{"kind": "external", "justification": finding.allowed_by}]
    return result
