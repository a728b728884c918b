"""`vet --reference`: a fine-tune that adds tokens passes; a permutation, a rename, a loss does not."""

from dataclasses import replace
from pathlib import Path

import pytest

from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition, Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.checks import tokenizer_reference
from pratique.vet.repo import Repo
from tests.support import tokenizers as kit

POLICY = Policy.model_validate({"schema": "pratique.policy/v1", "name": "test"})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.minilm(tmp_path_factory.mktemp("base") / "base")


def compare(directory: Path, base: Path) -> list[Finding]:
    candidate = replace(Candidate("x", directory), reference=base)
    return list(tokenizer_reference.run(Repo(candidate, Stage.CONTENT), POLICY))


def test_the_same_is_silent(base: Path, tmp_path: Path) -> None:
    assert compare(kit.minilm(tmp_path / "m"), base) == []


def test_added_tokens_are_noted(base: Path, tmp_path: Path) -> None:
    directory = kit.minilm(tmp_path / "m")
    kit.added_with("[TOOL]")(directory)
    found = compare(directory, base)
    assert [f.disposition for f in found] == [Disposition.NOTE]
    assert "'[TOOL]' (id 30522)" in found[0].message


def test_a_permutation_in_the_only_form_is_refused(base: Path, tmp_path: Path) -> None:
    """No internal order gives this away: a WordPiece vocabulary in one form, two words swapped."""
    directory = kit.minilm(tmp_path / "m")
    (directory / "vocab.txt").unlink()
    kit.wordpiece_swapped(directory)
    found = [f for f in compare(directory, base) if f.disposition is Disposition.REFUSE]
    assert [("'good'" in f.message, "'bad'" in f.message) for f in found] != []
    assert any("'good' was id 2204, is 2919" in f.message for f in found)


def test_a_renamed_token_is_refused(base: Path, tmp_path: Path) -> None:
    directory = kit.minilm(tmp_path / "m")
    with kit.edit(directory, "tokenizer.json") as t:
        vocab = t["model"]["vocab"]
        vocab["goood"] = vocab.pop("good")
    found = [f for f in compare(directory, base) if f.disposition is Disposition.REFUSE]
    assert any("'good' (id 2204) is now 'goood'" in f.message for f in found)


def test_another_normalizer_is_refused(base: Path, tmp_path: Path) -> None:
    directory = kit.minilm(tmp_path / "m")
    with kit.edit(directory, "tokenizer.json") as t:
        t["normalizer"]["lowercase"] = False
    assert any("normalizer differs" in f.message for f in compare(directory, base))


def test_a_lost_tokenizer_is_refused(base: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    assert [f.disposition for f in compare(tmp_path / "m", base)] == [Disposition.REFUSE]
