"""Every bad asset and every look-alike good one, against the checks themselves (in this process).

The same repositories go through the confined gate in tests/attacks/test_gate.py.
"""

import dataclasses
from pathlib import Path

import pytest

from pratique.core.candidate import Candidate
from pratique.core.findings import state_of
from pratique.core.stages import Stage
from pratique.formats.policy import load_policy
from pratique.vet.examine import examine
from pratique.vet.registry import CHECKS
from tests.support.corpus import benign, hostile_code, hostile_formats, hostile_pickle, hostile_text
from tests.support.corpus.kit import CANARY, Case

POLICY = load_policy("strict")
HOSTILE = [
    *hostile_pickle.CASES,
    *hostile_code.CASES,
    *hostile_formats.CASES,
    *hostile_text.CASES,
]
ALL = [*HOSTILE, *benign.CASES]
ENDLESS = {
    "sparse-100g"
}  # refused from its header; hashing its 100 GB of zeros is not this test's business


@pytest.mark.parametrize("case", [c for c in ALL if c.name not in ENDLESS], ids=lambda c: c.name)
def test_verdict(case: Case, tmp_path: Path) -> None:
    root = case.write(tmp_path / "repo")
    examined = examine(Candidate("repo", root), POLICY, Stage.CONTENT)
    said = [f"{f.check}: {f.path}: {f.message}" for f in examined.findings if f.blocks]
    assert state_of(examined.findings).value == case.answer, said
    if case.check is not None:
        assert case.check in {f.check for f in examined.findings if f.blocks}, said
    for finding in examined.findings:
        assert finding.message
        assert finding.remediation or not finding.blocks
    assert not Path(CANARY).exists(), "a check executed repository content"


def test_huge_sparse_file_is_refused_from_its_header(tmp_path: Path) -> None:
    case = next(c for c in ALL if c.name == "sparse-100g")
    root = case.write(tmp_path / "repo")
    examined = examine(Candidate("repo", root), POLICY, Stage.HEADERS)
    assert state_of(examined.findings).value == "FAILED"


def test_corpus_is_large_varied_and_unambiguous() -> None:
    assert len(HOSTILE) >= 150
    assert len(benign.CASES) >= 30
    names = [c.name for c in ALL]
    assert len(set(names)) == len(names)


def test_every_check_of_this_room_has_an_asset_that_it_stops() -> None:
    spoken = {c.check for c in HOSTILE if c.check}
    # hub-scan speaks of a server's answer, which no directory holds: see test_hub_scan.py.
    optional = {"safetensors-values", "card", "roles", "foreign-runtimes", "hub-scan"}
    silent = {c.id for c in CHECKS if not c.id.startswith("tokenizer-")} - spoken - optional
    assert not silent


@pytest.mark.parametrize("name", ["plain-llama", "sentence-transformers", "extras-arrays"])
def test_early_stages_say_no_more_than_the_last(name: str, tmp_path: Path) -> None:
    """What passes at the end is not stopped half way, when files are not here yet."""
    case = next(c for c in ALL if c.name == name)
    root = case.write(tmp_path / "repo")
    for stage in Stage:
        examined = examine(Candidate("repo", root), POLICY, stage)
        assert not [f for f in examined.findings if f.blocks], stage


def test_checks_are_values() -> None:
    assert len({c.id for c in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert dataclasses.is_dataclass(check)
        assert check.id == check.id.lower()
        assert check.title
