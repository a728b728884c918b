"""Every way to tamper with a tokenizer is refused, by name; the untouched ones have no finding."""

import os
from pathlib import Path

import pytest

from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition, Finding
from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.checks import (
    tokenizer_added,
    tokenizer_forms,
    tokenizer_model,
    tokenizer_native,
    tokenizer_pipeline,
    tokenizer_template,
    tokenizer_vocabulary,
)
from pratique.vet.repo import Repo
from tests.support import tokenizers as kit

CHECKS = (
    tokenizer_added,
    tokenizer_forms,
    tokenizer_model,
    tokenizer_native,
    tokenizer_pipeline,
    tokenizer_template,
    tokenizer_vocabulary,
)
POLICY = Policy.model_validate({"schema": "pratique.policy/v1", "name": "test"})


def look(directory: Path) -> list[Finding]:
    repo = Repo(Candidate("x", directory), Stage.CONTENT)
    return [finding for check in CHECKS for finding in check.run(repo, POLICY)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizers")


@pytest.mark.parametrize("base", kit.GOOD, ids=lambda b: b.__name__)
def test_untouched(base: kit.Base, folder: Path) -> None:
    found = [f for f in look(base(folder / f"good-{base.__name__}")) if f.blocks]
    assert found == []


@pytest.mark.parametrize("base", kit.GOOD, ids=lambda b: b.__name__)
def test_what_the_folder_is_called_decides_nothing(base: kit.Base, folder: Path) -> None:
    """The native libraries take no path that is not UTF-8."""
    odd = folder / os.fsdecode(b"\xff " + base.__name__.encode())
    base(folder / f"plain-{base.__name__}").rename(odd)
    assert [f for f in look(odd) if f.blocks] == []


@pytest.mark.parametrize(
    ("base", "change", "name"), kit.TAMPERED, ids=[name for _, _, name in kit.TAMPERED]
)
def test_tampered(base: kit.Base, change: kit.Edit, name: str, folder: Path) -> None:
    directory = base(folder / name)
    word = change(directory)
    refused = [f for f in look(directory) if f.disposition is Disposition.REFUSE]
    assert refused, f"{name} was not refused"
    said = " ".join(f"{f.path}: {f.message}" for f in refused)
    assert word in said or shown(word).strip("'\"") in said, said
    assert all(f.remediation for f in refused)
