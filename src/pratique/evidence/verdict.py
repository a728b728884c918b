"""A verdict as JSON, schema `pratique.verdict/v1`: one form for the terminal, the bundle and the report."""

import json
from typing import Any

from pratique.core.findings import Finding, Verdict


def verdict_value(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as plain values, ready for JSON."""
    subject, policy = verdict.subject, verdict.policy
    return {
        "schema": "pratique.verdict/v1",
        "verdict": verdict.state.value,
        "subject": {
            "name": subject.name,
            "digest": subject.digest,
            "repo": subject.repo,
            "commit": subject.commit,
            "files": subject.files,
            "size": subject.size,
        },
        "policy": {"name": policy.name, "digest": policy.digest},
        "findings": [_finding(finding) for finding in verdict.findings],
    }


def verdict_json(verdict: Verdict) -> bytes:
    """Return `evidence/verdict.json`: sorted keys, indented, the same bytes for the same verdict."""
    value = verdict_value(verdict)
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def _finding(finding: Finding) -> dict[str, Any]:
    value = {
        "check": finding.check,
        "severity": finding.severity.value,
        "disposition": finding.disposition.value,
        "path": finding.path,
        "message": finding.message,
        "remediation": finding.remediation,
    }
    if finding.digest is not None:
        value["digest"] = finding.digest
    if finding.allowed_by is not None:
        value["allowed_by"] = finding.allowed_by
    return value
