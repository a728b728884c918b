"""Evidence: the standard's own schema accepts the ML-BOM; the page runs and fetches nothing."""

import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from pratique.core.findings import Disposition, Finding, PolicyRef, Severity, Subject, Verdict
from pratique.core.ids import Digest, RelPath, parse_commit, parse_repo_id
from pratique.core.manifest import FileEntry, Manifest
from pratique.core.snapshot import Proof, Snapshot, Source
from pratique.evidence.report import Report, html_report
from pratique.evidence.sbom import ModelFacts, mlbom
from pratique.evidence.verdict import verdict_json, verdict_value

WHEN = datetime(2026, 3, 1, tzinfo=UTC)
EVIL = "<script>alert(1)</script>\"'&\x1b[31m\u202e"


def snapshot(commit: str | None = None) -> Snapshot:
    files = [
        FileEntry(RelPath("config.json"), 3, Digest("ab" * 32)),
        FileEntry(RelPath("größe/model.safetensors"), 2**40, Digest("cd" * 32)),
    ]
    source = Source(
        kind="hub" if commit else "local",
        requested="main",
        repo=parse_repo_id("org/tiny") if commit else None,
        commit=parse_commit(commit) if commit else None,
    )
    proof = Proof.VERIFIED if commit else Proof.NOT_APPLICABLE
    return Snapshot("tiny", source, Manifest.of(files), proof, WHEN, Path("model"), None)


def verdict(*findings: Finding) -> Verdict:
    return Verdict(
        Subject("tiny", Digest("ab" * 32), files=2, size=5),
        PolicyRef("strict", Digest("cd" * 32)),
        findings,
    )


FINDING = Finding(
    "pickle",
    Severity.HIGH,
    Disposition.REFUSE,
    f"a{EVIL}.bin",
    f"is {EVIL}",
    "convert it",
    Digest("ef" * 32),
)


@pytest.mark.parametrize("commit", [None, "0a" * 20])
@pytest.mark.parametrize("facts", [None, ModelFacts(("apache-2.0",), "LlamaForCausalLM", "chat")])
def test_mlbom_is_valid(commit: str | None, facts: ModelFacts | None) -> None:
    data = mlbom(snapshot(commit), WHEN, facts)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    value = json.loads(data)
    component = value["metadata"]["component"]
    assert component["type"] == "machine-learning-model"
    assert {c["hashes"][0]["content"] for c in value["components"]} == {"ab" * 32, "cd" * 32}
    assert ("purl" in component) is (commit is not None)


def test_mlbom_is_reproducible() -> None:
    assert mlbom(snapshot(), WHEN) == mlbom(snapshot(), WHEN)


def test_verdict_has_the_stated_keys() -> None:
    value = verdict_value(verdict(FINDING))
    assert value["schema"] == "pratique.verdict/v1"
    assert value["verdict"] == "FAILED"
    assert set(value["findings"][0]) >= {
        "check", "severity", "disposition", "path", "message", "remediation",
    }  # fmt: skip
    assert json.loads(verdict_json(verdict(FINDING))) == value


class Page(HTMLParser):
    """Collects tags and attributes."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(data.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(**changes: object) -> Page:
    values: dict[str, object] = {
        "title": f"tiny {EVIL}",
        "facts": [("source", EVIL)],
        "files": snapshot().manifest.files,
        "verdict": verdict(FINDING),
    }
    return Page(html_report(Report(**(values | changes))))  # type: ignore[arg-type]


def test_page_runs_and_fetches_nothing() -> None:
    page = page_of(later=[("x", EVIL)], approvals=[("anton", EVIL, EVIL, EVIL, EVIL)])
    assert not page.tags & {
        "script",
        "img",
        "link",
        "iframe",
        "a",
        "object",
        "embed",
        "form",
        "svg",
    }
    assert not [
        name for name, _ in page.attributes if name.startswith("on") or name in {"src", "href"}
    ]
    assert "alert(1)" in page.text, "shown as text"
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text
    policies = [v for n, v in page.attributes if n == "content" and v and "default-src" in v]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_page_tells_what_matters() -> None:
    page = page_of()
    for text in ("FAILED", "pickle", "ab" * 32, "größe/model.safetensors", "proves nothing"):
        assert text in page.text


def test_page_without_findings_says_none() -> None:
    assert "None." in page_of(verdict=verdict()).text
