"""Second opinions add refusals, never an acceptance."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest

from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition, VerdictState
from pratique.core.policy import VetRules
from pratique.formats.policy import load_policy
from pratique.jobs import second_opinion
from pratique.vet import judge
from pratique.vet.opinions import parse_answer
from tests.support import models


def test_answers() -> None:
    (finding,) = parse_answer(
        "picklescan", b'[["a.bin", "picklescan: dangerous import os.system"]]'
    )
    assert finding.disposition is Disposition.REFUSE
    assert finding.path == "a.bin"
    assert not list(parse_answer("picklescan", b"[]"))
    for nonsense in (b"", b"{}", b'[["a"]]', b"[7]"):
        assert [f.disposition for f in parse_answer("x", nonsense)] == [Disposition.NOTE]


def test_a_scanner_that_is_not_installed_changes_nothing(tmp_path: Path) -> None:
    if importlib.util.find_spec("picklescan") is not None:
        pytest.skip("picklescan is installed here")
    models.write_model(tmp_path / "m", "llama")
    policy = load_policy("strict").model_copy(
        update={"vet": VetRules(second_opinions=("picklescan",))}
    )
    verdict = judge(Candidate("m", tmp_path / "m"), policy)
    assert verdict.state is VerdictState.PASSED
    assert any(f.check == "second-opinion" for f in verdict.findings)


def test_job_reports_what_the_scanner_calls_dangerous(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = types.SimpleNamespace(Dangerous="dangerous")
    found = types.SimpleNamespace(
        globals=[types.SimpleNamespace(module="os", name="system", safety="dangerous")]
    )
    module = types.ModuleType("picklescan.scanner")
    module.SafetyLevel = level  # type: ignore[attr-defined]  # a stand-in
    module.scan_file_path = lambda path: found  # type: ignore[attr-defined]  # a stand-in
    monkeypatch.setitem(sys.modules, "picklescan", types.ModuleType("picklescan"))
    monkeypatch.setitem(sys.modules, "picklescan.scanner", module)
    (tmp_path / "a.bin").write_bytes(b"x")
    request = f'{{"scanner": "picklescan", "root": "{tmp_path}"}}'.encode()
    answer = second_opinion.run(request, lambda _: None)
    assert answer == b'[["a.bin", "picklescan: dangerous import os.system"]]'
