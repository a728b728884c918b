"""The whole gate as users run it: confined child, command line, exit codes; nothing is executed."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path

import pytest

from pratique.core.candidate import Candidate, Listed
from pratique.core.findings import VerdictState
from pratique.core.policy import Allowance, Policy
from pratique.core.stages import Stage
from pratique.errors import UnreadableInput
from pratique.formats.policy import load_policy
from pratique.vet import LocalGate, judge
from tests.support import models
from tests.support.corpus import benign, hostile_code, hostile_formats, hostile_pickle, hostile_text
from tests.support.corpus.kit import CANARY, Case, edit, evil_pickle, put

POLICY = load_policy("strict")
CASES = {
    c.name: c
    for m in (hostile_pickle, hostile_code, hostile_formats, hostile_text, benign)
    for c in m.CASES
}
CONFINED = [
    "plain-llama", "sentence-transformers", "extras-arrays", "gguf-only", "licence-none", "code-own",
    "torch-clean", "pickle-protocol-4", "code-other-repo", "template-mro", "pipe", "link-loop",
    "name-not-utf8", "folders-deep", "onnx-custom-op", "keras-lambda", "json-very-deep", "json-many-items",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands record on a ledger of this test, not of the person who runs it."""
    monkeypatch.setenv("PRATIQUE_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("name", CONFINED)
def test_confined_verdict(name: str, tmp_path: Path) -> None:
    case: Case = CASES[name]
    verdict = judge(Candidate("repo", case.write(tmp_path / "repo")), POLICY)
    assert verdict.state.value == case.answer
    assert not Path(CANARY).exists()


def _cli(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pratique.cli.main", *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "code", "answer"),
    [("plain-bert", 0, "PASSED"), ("code-own", 13, "NEEDS_APPROVAL"), ("torch-evil", 10, "FAILED")],
)
def test_command_line(name: str, code: int, answer: str, tmp_path: Path) -> None:
    root = CASES[name].write(tmp_path / "repo")
    done = _cli("vet", str(root), "--format", "json")
    assert done.returncode == code, done.stderr
    value = json.loads(done.stdout)
    assert value["schema"] == "pratique.verdict/v1"
    assert value["verdict"] == answer
    for finding in value["findings"]:
        assert {"check", "severity", "disposition", "path", "message", "remediation"} <= set(
            finding
        )
    text = _cli("vet", str(root))
    assert text.returncode == code
    assert answer in text.stdout
    assert "\x1b" not in text.stdout
    assert "Traceback" not in text.stderr


def test_output_file_and_sarif(tmp_path: Path) -> None:
    root = CASES["torch-evil"].write(tmp_path / "repo")
    done = _cli("vet", str(root), "--format", "sarif", "--output", str(tmp_path / "out.sarif"))
    assert done.returncode == 10
    assert json.loads((tmp_path / "out.sarif").read_text())["version"] == "2.1.0"


def test_unreadable_input_is_exit_code_5(tmp_path: Path) -> None:
    done = _cli("vet", str(tmp_path / "nothing"))
    assert done.returncode == 5
    assert "hint" in done.stderr
    with pytest.raises(UnreadableInput):
        judge(Candidate("x", tmp_path / "nothing"), POLICY)


def test_unknown_policy_is_exit_code_3(tmp_path: Path) -> None:
    assert _cli("vet", str(tmp_path), "--policy", "lenient").returncode == 3


def _allowing(name: str, root: Path, **changes: object) -> Policy:
    """The strict policy with an allowance for every finding that asks for one."""
    verdict = judge(Candidate("repo", root), POLICY)
    entries = [
        Allowance.model_validate(
            {"check": f.check, "digest": f.digest, "reason": "reviewed in a test", "owner": "a tester",
             "expires": date(2999, 1, 1), "path": f.path or None} | changes
        )
        for f in verdict.findings if f.blocks
    ]  # fmt: skip
    assert entries, name
    return POLICY.model_copy(update={"allow": tuple(entries)})


@pytest.mark.parametrize(
    "name",
    [
        "code-own-two-files",
        "torch-clean",
        "adapter-remote",
        "kernel-nested",
        "licence-nc",
        "licence-none",
        "generate-own",
    ],
)
def test_allowance_lets_in_exactly_what_it_names(name: str, tmp_path: Path) -> None:
    root = CASES[name].write(tmp_path / "repo")
    policy = _allowing(name, root)
    verdict = judge(Candidate("repo", root), policy)
    assert verdict.state is VerdictState.PASSED
    assert any(f.allowed_by for f in verdict.findings)


def test_changed_byte_voids_an_allowance(tmp_path: Path) -> None:
    root = CASES["code-own"].write(tmp_path / "repo")
    policy = _allowing("code-own", root)
    put(root, "modeling_x.py", (root / "modeling_x.py").read_bytes() + b"\n")
    assert judge(Candidate("repo", root), policy).state is VerdictState.NEEDS_APPROVAL


def test_expired_allowance_counts_for_nothing_and_is_reported(tmp_path: Path) -> None:
    root = CASES["code-own"].write(tmp_path / "repo")
    policy = _allowing("code-own", root, expires=date(2020, 1, 1))
    verdict = judge(Candidate("repo", root), policy)
    assert verdict.state is VerdictState.NEEDS_APPROVAL
    assert any(f.check == "allowance" and "expired" in f.message for f in verdict.findings)


def test_unused_allowance_is_reported(tmp_path: Path) -> None:
    root = CASES["plain-llama"].write(tmp_path / "repo")
    entry = Allowance.model_validate(
        {"check": "remote-code", "digest": "0" * 64, "reason": "no longer there", "owner": "a tester",
         "expires": date(2999, 1, 1), "repo": "org/name"}
    )  # fmt: skip
    policy = POLICY.model_copy(update={"allow": (entry,)})
    verdict = judge(Candidate("repo", root, repo="org/name"), policy)  # type: ignore[arg-type]  # a repo id
    assert verdict.state is VerdictState.PASSED
    assert any("answers for nothing" in f.message for f in verdict.findings)


def test_no_allowance_answers_for_a_refusal(tmp_path: Path) -> None:
    root = CASES["torch-evil"].write(tmp_path / "repo")
    digest = judge(Candidate("repo", root), POLICY).subject.digest
    entries = tuple(
        Allowance.model_validate({"check": c, "digest": d, "reason": "please let it in", "owner": "x", "expires": date(2999, 1, 1)})
        for c in ("torch-zip", "pickle") for d in (digest, _sha256(root / "pytorch_model.bin"))
    )  # fmt: skip
    verdict = judge(Candidate("repo", root), POLICY.model_copy(update={"allow": entries}))
    assert verdict.state is VerdictState.FAILED


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_gate_refuses_pickle_weights_before_download(tmp_path: Path) -> None:
    """Names alone, then heads alone, as `fetch` has them."""
    (tmp_path / "here").mkdir()
    listing = (Listed("config.json", 10), Listed("pytorch_model.bin", 10**9, sha256="a" * 64))
    gate = LocalGate(POLICY)
    candidate = Candidate("repo", tmp_path / "here", listing=listing)
    verdict = gate.judge(candidate, Stage.LISTING)
    assert verdict.state is VerdictState.NEEDS_APPROVAL
    assert {f.digest for f in verdict.findings if f.blocks} == {"a" * 64}
    heads = tmp_path / "heads"
    put(heads, "pytorch_model.bin", evil_pickle())
    candidate = Candidate("repo", tmp_path / "here", listing=listing, heads=heads)
    assert gate.judge(candidate, Stage.HEADERS).state is VerdictState.FAILED


def test_safetensors_head_is_enough_to_refuse(tmp_path: Path) -> None:
    models.write_model(tmp_path / "m", "llama")
    whole = (tmp_path / "m" / "model.safetensors").read_bytes()
    for size, refused in ((len(whole), False), (len(whole) + 1, True)):
        root = tmp_path / f"here{size}"
        root.mkdir()
        put(tmp_path / f"heads{size}", "model.safetensors", whole[:20_000])
        candidate = Candidate(
            "repo",
            root,
            listing=(Listed("model.safetensors", size),),
            heads=tmp_path / f"heads{size}",
        )
        said = {f.check for f in judge(candidate, POLICY, Stage.HEADERS).findings if f.blocks}
        assert ("safetensors-header" in said) is refused


def test_listing_pins_files(tmp_path: Path) -> None:
    root = CASES["plain-llama"].write(tmp_path / "repo")
    listing = tuple(Listed(p.name, p.stat().st_size, sha256=_sha256(p)) for p in root.iterdir())
    assert judge(Candidate("r", root, listing=listing), POLICY).state is VerdictState.PASSED
    other = tuple(Listed(item.path, item.size, sha256="0" * 64) for item in listing)
    assert judge(Candidate("r", root, listing=other), POLICY).state is VerdictState.FAILED
    assert judge(Candidate("r", root, listing=listing[1:]), POLICY).state is VerdictState.FAILED
    more = (*listing, Listed("ghost.txt", 1))
    assert judge(Candidate("r", root, listing=more), POLICY).state is VerdictState.FAILED


def test_digest_is_of_the_bytes_on_disk(tmp_path: Path) -> None:
    from pratique.store.quarantine import hash_tree

    root = CASES["plain-llama"].write(tmp_path / "repo")
    assert judge(Candidate("r", root), POLICY).subject.digest == hash_tree(root).digest


def test_file_that_changes_is_refused(tmp_path: Path) -> None:
    root = CASES["plain-llama"].write(tmp_path / "repo")
    stop = threading.Event()

    def scribble() -> None:
        while not stop.is_set():
            os.utime(root / "README.md")
            time.sleep(0)

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        verdict = judge(Candidate("r", root), POLICY)
    finally:
        stop.set()
        thread.join()
    assert verdict.state is VerdictState.FAILED


def test_child_without_an_answer_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that cannot finish in its memory is a refusal, not an error of ours."""
    from pratique.vet import judging

    root = CASES["plain-llama"].write(tmp_path / "repo")
    put(root, "extra.json", "[" + "[]," * 1_000_000 + "1]")
    monkeypatch.setattr(judging, "_MEMORY", 64 * 2**20)
    verdict = judge(Candidate("r", root), POLICY)
    assert verdict.state is VerdictState.FAILED


def test_child_that_hangs_is_a_refusal_naming_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pratique.confine import Confinement, JobResult, TimedOut
    from pratique.vet import judging

    root = CASES["plain-llama"].write(tmp_path / "repo")
    ended = JobResult(TimedOut(300.0), Confinement(()), "tokenizer.json", "", 300.0)
    monkeypatch.setattr(judging, "run_job", lambda *_, **__: ended)
    verdict = judge(Candidate("r", root), POLICY)
    assert verdict.state is VerdictState.FAILED
    assert [(f.check, f.path) for f in verdict.findings] == [("gate", "tokenizer.json")]


@pytest.mark.parametrize("answer", [b"", b"{}", b"[]", b"\xff", b'{"digest": "x"}'])
def test_nonsense_from_the_child_is_a_refusal(
    answer: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pratique.confine import Confinement, JobResult, Ok
    from pratique.vet import judging

    root = CASES["plain-llama"].write(tmp_path / "repo")
    monkeypatch.setattr(
        judging, "run_job", lambda *_, **__: JobResult(Ok(answer), Confinement(()), "", "", 0.1)
    )
    assert judge(Candidate("r", root), POLICY).state is VerdictState.FAILED


def test_many_files_are_one_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pratique.vet import walk
    from pratique.vet.examine import examine

    monkeypatch.setattr(walk, "MAX_ENTRIES", 50)
    for i in range(80):
        put(tmp_path / "repo", f"{i}.txt", "x")
    examined = examine(Candidate("r", tmp_path / "repo"), POLICY, Stage.CONTENT)
    assert len(examined.findings) < 5
    assert any("more than 50" in f.message for f in examined.findings)


def test_crash_in_a_check_is_a_refusal(tmp_path: Path) -> None:
    from pratique.vet.check import Check
    from pratique.vet.examine import examine

    def boom(repo: object, policy: object) -> object:
        raise ZeroDivisionError

    root = CASES["plain-llama"].write(tmp_path / "repo")
    bad = Check("boom", "x", Stage.LISTING, boom)  # type: ignore[arg-type]  # not even an iterator
    examined = examine(Candidate("r", root), POLICY, Stage.CONTENT, checks=(bad,))
    assert [(f.check, f.disposition.value) for f in examined.findings] == [("boom", "refuse")]


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    root = CASES["name-escape"].write(tmp_path / "repo")
    done = _cli("vet", str(root))
    assert done.returncode == 10, done.stderr
    assert "\x1b" not in done.stdout


def test_snapshot_record_is_checked(tmp_path: Path) -> None:
    """A snapshot whose files differ from `snapshot.json` is refused by the gate as well."""
    root = CASES["plain-llama"].write(tmp_path / "s" / "model")
    files = [
        {
            "path": p.name,
            "size": p.stat().st_size,
            "sha256": _sha256(p),
            "git_id": None,
            "lfs": False,
        }
        for p in sorted(root.iterdir())
    ]
    put(tmp_path / "s", "snapshot.json", {
        "schema": "pratique.snapshot/v1", "name": "x", "kind": "local", "requested": "x", "repo": None,
        "commit": None, "endpoint": None, "proof": "not-applicable", "taken_at": "2026-01-01T00:00:00Z",
        "files": files, "left_out": [], "fetched_by": {},
    })  # fmt: skip
    assert _cli("vet", str(tmp_path / "s")).returncode == 0
    edit(root, "config.json", hidden_size=65)
    assert _cli("vet", str(tmp_path / "s")).returncode == 10


def test_hundred_sparse_gigabytes_are_refused_in_bounded_time(tmp_path: Path) -> None:
    """The header is wrong; the zeros behind it are not read."""
    root = CASES["sparse-100g"].write(tmp_path / "repo")
    verdict = judge(Candidate("r", root), POLICY)
    assert verdict.state is VerdictState.FAILED
    assert "gate" not in {f.check for f in verdict.findings}
