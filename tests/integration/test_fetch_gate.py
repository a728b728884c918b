"""A fetch shows the gate a repository piece by piece: what is ordinary must not be refused half way.

`vet` sees everything at once. A check that speaks of a file which a fetch has not brought yet would
refuse honest repositories in a fetch alone.
"""

from pathlib import Path

import pytest

from pratique.core.candidate import Candidate
from pratique.core.findings import PolicyRef, Subject, Verdict
from pratique.core.stages import Stage
from pratique.fetch.gating import GateRefused
from pratique.formats.policy import load_policy
from pratique.vet.examine import examine
from tests.support.corpus import benign
from tests.support.corpus.kit import Case
from tests.support.hub.world import NOTHING, StubGate, World
from tests.support.models import write_model

POLICY = load_policy("strict")


class Checks(StubGate):
    """The real checks, in this process."""

    def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
        super().judge(candidate, stage)
        examined = examine(candidate, POLICY, stage)
        return Verdict(
            Subject(candidate.name, NOTHING, repo=candidate.repo),
            PolicyRef(POLICY.name, POLICY.digest),
            examined.findings,
        )


def world_of(directory: Path, base: Path) -> World:
    files = {p.relative_to(directory).as_posix(): p for p in directory.rglob("*") if p.is_file()}
    world = World(base, {name: path.read_bytes() for name, path in files.items()})
    world.gate = Checks()
    return world


@pytest.mark.parametrize("case", benign.CASES, ids=lambda c: c.name)
def test_ordinary_repositories_pass_stage_by_stage(case: Case, tmp_path: Path) -> None:
    world = world_of(case.write(tmp_path / "repo"), tmp_path)
    assert world.fetch().source.commit == world.commit
    assert world.gate.stages == [s for s in Stage if s in world.gate.stages]
    assert world.gate.stages[-1] is Stage.CONTENT


def test_a_shard_that_no_index_names_is_refused_by_the_heads(tmp_path: Path) -> None:
    """The look-alike: the index is there, and does not name it."""
    write_model(tmp_path / "repo", "llama", shards=3)
    index = tmp_path / "repo" / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00003-of", "model-00002-of"))
    world = world_of(tmp_path / "repo", tmp_path)
    with pytest.raises(GateRefused) as caught:
        world.fetch()
    assert world.gate.stages[-1] is Stage.HEADERS
    said = {f.path for f in caught.value.verdict.findings if f.check == "safetensors-index"}
    assert "model-00003-of-00003.safetensors" in said


def test_numbered_shards_without_any_index_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "repo", "llama", shards=3)
    (tmp_path / "repo" / "model.safetensors.index.json").unlink()
    world = world_of(tmp_path / "repo", tmp_path)
    with pytest.raises(GateRefused):
        world.fetch()
    assert world.gate.stages[-1] is Stage.CODE_AND_CONFIG
