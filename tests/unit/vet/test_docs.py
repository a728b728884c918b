"""Every check is documented, and the documentation is what `policy explain` prints."""

import re
from pathlib import Path

import pytest

from pratique.vet.registry import CHECKS
from tests.support.cli import run_cli

ROOT = Path(__file__).resolve().parents[3]
SECTIONS = dict(
    part.split("\n", 1) for part in (ROOT / "docs/checks.md").read_text().split("\n## ")[1:]
)
OTHERS = {"steady", "gate", "allowance", "second-opinion"}


def test_each_check_has_one_section_and_each_section_a_check() -> None:
    assert set(SECTIONS) == {check.id for check in CHECKS} | OTHERS


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_sections_are_complete(name: str) -> None:
    found = re.findall(r"^\*\*(\w[\w ]*)\.\*\*", SECTIONS[name], re.MULTILINE)
    assert found == ["What", "Why", "Reference", "Bad", "Good", "Fix or allow"]


def test_explain_prints_the_section() -> None:
    code, out, _ = run_cli("policy", "explain", "torch-zip")
    assert code == 0
    assert "TorchScript" in out


def test_explain_of_an_unknown_check_is_usage() -> None:
    code, _, err = run_cli("policy", "explain", "nonsense")
    assert code == 2
    assert "the checks are" in err


def test_verbs_named_in_the_docs_exist() -> None:
    text = (ROOT / "docs/vet.md").read_text() + (ROOT / "docs/policies.md").read_text()
    for verb in set(re.findall(r"`pratique (\w+)", text)):
        assert (ROOT / "src/pratique/cli" / f"{verb}.py").is_file(), verb
