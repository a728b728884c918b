"""bundle.json: one spelling, strict, consistent in itself; newer versions are named."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.core.bundle import (
    CHUNK_BYTES,
    BundleDocument,
    chunk_count,
    is_git_file,
    sums_of,
)
from pratique.core.ids import Digest, RelPath
from pratique.core.manifest import FileEntry, Manifest, parse_sha256sums
from pratique.errors import FormatError, PratiqueError, VerificationRefused
from pratique.formats.bundle import encode_bundle_document, parse_bundle_document

DIGEST = "ab" * 32
SUBJECT = Manifest.of([FileEntry(RelPath("config.json"), 3, Digest(DIGEST))]).digest
VALUE: dict[str, Any] = {
    "schema": "pratique.bundle/v1",
    "name": "tiny",
    "source": {"kind": "local", "repo": None, "commit": None, "requested": None, "endpoint": None},
    "commit_proof": "not-applicable",
    "taken_at": "2026-03-01T12:00:00Z",
    "created": "2026-03-01T12:00:00Z",
    "policy": {"name": "strict", "digest": DIGEST, "crypto": "default"},
    "verdict": "PASSED",
    "subject": SUBJECT,
    "chunking": "blake3/64MiB",
    "files": [
        {"path": "evidence/verdict.json", "size": 0, "sha256": DIGEST, "chunks": []},
        {"path": "model/config.json", "size": 3, "sha256": DIGEST, "chunks": [DIGEST]},
    ],
    "aside": [],
    "absent": [],
    "variants": [],
    "runtime": {"python": ">=3.11"},
    "made_by": {"pratique": "0.1.0"},
}


def spelt(value: object, **options: Any) -> bytes:
    defaults: dict[str, Any] = {"sort_keys": True, "separators": (",", ":"), "ensure_ascii": False}
    return json.dumps(value, **(defaults | options)).encode() + b"\n"


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(spelt(VALUE))
    change(value)
    return spelt(value)


def test_reads_what_it_writes() -> None:
    document = parse_bundle_document(spelt(VALUE))
    assert encode_bundle_document(document) == spelt(VALUE)
    assert document.label == f"tiny@{SUBJECT[:8]}"


@pytest.mark.parametrize(
    ("kind", "proof"),
    [
        ("hub", "verified"), ("hub", "none"), ("hf-cache", "verified"),
        ("hf-cache", "not-applicable"),
    ],
)  # fmt: skip
def test_sources_with_a_commit(kind: str, proof: str) -> None:
    source = {"kind": kind, "repo": "org/tiny", "commit": "a" * 40}
    data = changed(lambda v: (v["source"].update(source), v.update(commit_proof=proof)))
    assert parse_bundle_document(data).label == "tiny@aaaaaaaa"


@pytest.mark.parametrize(
    "data",
    [
        spelt(VALUE, indent=1),
        spelt(VALUE, separators=(", ", ": ")),
        spelt(VALUE)[:-1],
        spelt(VALUE) + b"\n",
        b" " + spelt(VALUE),
        b"\xef\xbb\xbf" + spelt(VALUE),
        json.dumps(VALUE).encode("utf-16"),
        spelt(VALUE).replace(b'"tiny"', b'"\\u0074iny"'),
        spelt(VALUE).replace(b'"name":"tiny"', b'"name":"evil","name":"tiny"'),
        spelt(VALUE).replace(b'"size":3', b'"size":3.0'),
        spelt(VALUE).replace(b'"size":3', b'"size":"3"'),
        spelt(VALUE).replace(b'"size":3', b'"size":true'),
        spelt(VALUE).replace(b'"size":3', b'"size":-3'),
        b"",
        b"null\n",
        b"[]\n",
        b"{}\n",
        b"[" * 100_000,
        b"\xff\xfe",
    ],
    ids=range(19),
)
def test_another_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_bundle_document(data)


def _file(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = value["files"][1]
    return found


CONTRADICTIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no chunks": lambda v: _file(v).update(chunks=[]),
    "chunks without chunking": lambda v: v.update(chunking=None),
    "unsorted": lambda v: v["files"].reverse(),
    "twice": lambda v: v["files"].append(_file(v)),
    "lists itself": lambda v: v["files"].insert(0, dict(_file(v), path="bundle.json")),
    "climbs": lambda v: _file(v).update(path="model/../../etc/passwd"),
    "absolute": lambda v: _file(v).update(path="/etc/passwd"),
    "collides": lambda v: v["files"].insert(1, dict(_file(v), path="model/CONFIG.json")),
    "other subject": lambda v: v.update(subject=DIGEST),
    "failed": lambda v: v.update(verdict="FAILED"),
    "extra key": lambda v: v.update(verified=True),
    "missing key": lambda v: v.pop("policy"),
    "local repository": lambda v: v["source"].update(repo="org/tiny"),
    "local commit": lambda v: v["source"].update(commit="a" * 40),
    "local with a proof": lambda v: v.update(commit_proof="verified"),
    "hub without a commit": lambda v: (
        v["source"].update(kind="hub", repo="org/tiny"),
        v.update(commit_proof="none"),
    ),
    "hub without a word of proof": lambda v: v["source"].update(
        kind="hub", repo="org/tiny", commit="a" * 40
    ),
    "bad commit": lambda v: v["source"].update(commit="main"),
    "bad repo": lambda v: v["source"].update(repo="../../x"),
    "file beside the folders": lambda v: v["files"].append(dict(_file(v), path="run.py")),
    "folder of its own": lambda v: v["files"].append(dict(_file(v), path="tools/run.py")),
    "folder in capitals": lambda v: v["files"].insert(0, dict(_file(v), path="Evidence/x")),
    "no such day": lambda v: v.update(created="2026-02-30T00:00:00Z"),
    "no such hour": lambda v: v.update(taken_at="2026-01-01T99:00:00Z"),
    "bad time": lambda v: v.update(created="yesterday"),
    "bad name": lambda v: v.update(name="../x"),
    "kept that is not there": lambda v: v["aside"].append(
        {
            "path": ".gitattributes",
            "size": 1,
            "sha256": DIGEST,
            "kept": "provenance/x",
            "reason": "r",
        }
    ),
    "variant without a statement": lambda v: v["variants"].append(
        {"name": "nf4", "method": "nf4", "statement": "variants/nf4/statement.json"}
    ),
    "statement elsewhere": lambda v: v["variants"].append(
        {"name": "nf4", "method": "nf4", "statement": v["files"][0]["path"]}
    ),
    "variant twice": lambda v: (
        v["files"].append(dict(_file(v), path="variants/nf4/conversion.json")),
        v.update(
            variants=2
            * [{"name": "nf4", "method": "nf4", "statement": "variants/nf4/conversion.json"}]
        ),
    ),
    "variant that is not listed": lambda v: v["files"].append(
        dict(_file(v), path="variants/nf4/model.safetensors")
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_refused(name: str) -> None:
    with pytest.raises(FormatError):
        parse_bundle_document(changed(CONTRADICTIONS[name]))


@pytest.mark.parametrize("version", ["2", "17"])
def test_newer_versions_are_named(version: str) -> None:
    with pytest.raises(VerificationRefused, match=f"newer pratique.*v{version}"):
        parse_bundle_document(changed(lambda v: v.update(schema=f"pratique.bundle/v{version}")))


@pytest.mark.parametrize(
    "schema", ["pratique.bundle/v0", "pratique.bundle/v1 ", "other/v2", 7, None]
)
def test_other_schemas_are_refused(schema: object) -> None:
    with pytest.raises(FormatError, match="schema"):
        parse_bundle_document(changed(lambda v: v.update(schema=schema)))


def test_error_does_not_echo_the_input() -> None:
    secret = "hunter2\x1b[31m"
    with pytest.raises(FormatError) as caught:
        parse_bundle_document(changed(lambda v: v.update(chunking=secret)))
    assert "hunter2" not in caught.value.message
    assert "chunking" in caught.value.message


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(PratiqueError):
        parse_bundle_document(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(VALUE)), JSON)
def test_any_other_value_is_refused_or_round_trips(key: str, value: object) -> None:
    data = changed(lambda v: v.update({key: value}))
    try:
        document = parse_bundle_document(data)
    except PratiqueError:
        return
    assert encode_bundle_document(document) == data


@pytest.mark.parametrize(
    ("size", "count"),
    [(0, 0), (1, 1), (CHUNK_BYTES, 1), (CHUNK_BYTES + 1, 2), (10 * CHUNK_BYTES, 10)],
)
def test_chunk_count(size: int, count: int) -> None:
    assert chunk_count(size) == count


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".gitattributes", True), ("a/.gitignore", True), (".git/config", True), (".GIT/config", True),
        (".github/x", True), ("git", False), ("a.git", False), ("config.json", False),
    ],
)  # fmt: skip
def test_git_files(path: str, expected: bool) -> None:
    assert is_git_file(path) is expected


PATHS = st.lists(
    st.text("abz.A_é-", min_size=1, max_size=6).filter(lambda t: t[-1] != "."), unique=True
)


@given(PATHS)
def test_sums_round_trip(paths: list[str]) -> None:
    import unicodedata

    files = {RelPath(unicodedata.normalize("NFC", p)): Digest(DIGEST) for p in paths}
    if files:
        assert parse_sha256sums(sums_of(files.items())) == files


def test_document_cannot_be_changed() -> None:
    document: BundleDocument = parse_bundle_document(spelt(VALUE))
    with pytest.raises(ValueError, match="frozen"):
        document.name = "other"
