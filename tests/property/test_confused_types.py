"""A value of another type anywhere in a hostile JSON file is judged, not stumbled over.

A check that raises is a refusal all the same, but one that says nothing; a signature file or a server's
answer that raises would be called a bug instead of a refusal.
"""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pratique.attest.envelope import MEDIA_TYPE, read
from pratique.core.candidate import Candidate
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.policy import load_policy
from pratique.vet.examine import examine
from tests.support.corpus import benign

OTHERS = st.sampled_from(
    [[], {}, None, 5, -1, 1e300, "x", True, [[]], [{}], [None], {"a": []}, "a--b/c.D"]
)
POLICY = load_policy("strict")
LARGEST = 100_000


def places(value, path=()):
    """Every place in a JSON value; of long lists the beginning."""
    yield path
    if isinstance(value, dict):
        for key, child in value.items():
            yield from places(child, (*path, key))
    elif isinstance(value, list):
        for at, child in enumerate(value[:8]):
            yield from places(child, (*path, at))


def put(value, path, new):
    """The value with `new` at one place."""
    if not path:
        return new
    changed = json.loads(json.dumps(value))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return changed


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> list[tuple[Path, Path, object]]:
    """Each configuration of each harmless repository: its repository, the file, its value."""
    root = tmp_path_factory.mktemp("corpus")
    found = []
    for number, case in enumerate(benign.CASES):
        repo = case.write(root / str(number))
        for file in sorted(repo.rglob("*.json")):
            if file.stat().st_size <= LARGEST:
                try:
                    found.append((repo, file, json.loads(file.read_bytes())))
                except ValueError:
                    continue
    assert len(found) > 100
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), new=OTHERS)
def test_configurations(written, data, new):
    repo, file, value = data.draw(st.sampled_from(written))
    path = data.draw(st.sampled_from(list(places(value))))
    before = file.read_bytes()
    file.write_text(json.dumps(put(value, path, new)))
    try:
        findings = examine(Candidate("repo", repo), POLICY, Stage.CONTENT).findings
    finally:
        file.write_bytes(before)
    unfinished = [f for f in findings if "could not be finished" in f.message]
    assert not unfinished, (file.name, path)


SIGNATURE = {
    "mediaType": MEDIA_TYPE,
    "verificationMaterial": {
        "publicKey": {"rawBytes": "AAAA", "keyDetails": "PKIX_ECDSA_P256_SHA_256"},
        "tlogEntries": [],
        "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": "AAAA"}]},
    },
    "dsseEnvelope": {
        "payload": "AAAA",
        "payloadType": "t",
        "signatures": [{"sig": "AAAA", "keyid": ""}],
    },
}


def spelled(value) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_signature_file_itself_can_be_read():
    assert read(spelled(SIGNATURE)).payload == b"\0\0\0"


@given(path=st.sampled_from(list(places(SIGNATURE))), new=OTHERS)
def test_signature_files(path, new):
    try:
        read(spelled(put(SIGNATURE, path, new)))
    except FormatError:
        return
