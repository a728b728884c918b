"""Code of another repository: every way in that is not a pin, an allowance and the very bytes."""

import hashlib
import json
import shutil
from datetime import date
from pathlib import Path

import pytest

from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition, PolicyRef, Subject, Verdict, VerdictState, state_of
from pratique.core.foreign import ForeignRoot, Pin, parse_label, parse_pin
from pratique.core.snapshot import VettedSnapshot
from pratique.core.stages import Stage
from pratique.errors import (
    FetchError,
    FormatError,
    PolicyError,
    UnreadableInput,
    VerificationRefused,
)
from pratique.fetch import foreign_code
from pratique.fetch.gating import GateRefused, GateWantsApproval
from pratique.flows.loopback_hub import Reply
from pratique.flows.sealing import SealRequest, vet_and_seal
from pratique.store.quarantine import open_snapshot
from pratique.vet.allowing import allow
from pratique.vet.examine import examine
from tests.support import foreign
from tests.support.bundles import OpenGate
from tests.support.foreign import CODE, MODEL, OTHER, Judging, Upstream, pin
from tests.support.hub.world import edited, flip_last_byte, on, with_status, write_tree

MODELING = "modeling_own.py"
SHA = "5" * 40


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path)


def pinned(upstream: Upstream, *more):
    return foreign.policy(pin(upstream.commit), *more)


def fetch(upstream: Upstream, rules):
    return upstream.fetch(rules, Judging(rules))


def blocking(verdict: Verdict) -> set[tuple[str, str]]:
    return {(f.check, f.path) for f in verdict.findings if f.blocks}


# --- what is not pinned -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        None,
        {"expires": date(2020, 1, 1)},
        {"repo": "ours/another"},
        {"commit": "1" * 40},
        {"foreign": f"Other/repo@{SHA}"},
        {"foreign": f"other/Repo@{SHA}"},
        {"foreign": f"third/repo@{SHA}"},
    ],
)
def test_without_a_pin_that_holds_nobody_goes_there(upstream: Upstream, values) -> None:
    given = {"foreign": f"{OTHER}@{upstream.commit}", **(values or {})}
    allowed = () if values is None else (foreign.allowance("foreign-code", **given),)
    with pytest.raises(GateRefused) as refused:
        fetch(upstream, foreign.policy(*allowed, *foreign.files()))
    assert ("foreign-code", "config.json") in blocking(refused.value.verdict)
    assert not upstream.asked(OTHER)
    assert not upstream.asked("model.safetensors")


def test_a_pin_does_not_allow_the_files(upstream: Upstream) -> None:
    with pytest.raises(GateWantsApproval) as wanted:
        fetch(upstream, pinned(upstream))
    assert blocking(wanted.value.verdict) == {("remote-code", f"{OTHER}: {name}") for name in CODE}
    found = {f.path: f.digest for f in wanted.value.verdict.findings if f.blocks}
    for name, body in CODE.items():
        assert found[f"{OTHER}: {name}"] == hashlib.sha256(body).hexdigest()
    assert "range" not in str(upstream.asked("other/repo/resolve"))


@pytest.mark.parametrize("name", sorted(CODE))
def test_every_file_that_is_imported_needs_its_own(upstream: Upstream, name: str) -> None:
    fewer = foreign.files({key: body for key, body in CODE.items() if key != name})
    with pytest.raises(GateWantsApproval) as wanted:
        fetch(upstream, pinned(upstream, *fewer))
    assert blocking(wanted.value.verdict) == {("remote-code", f"{OTHER}: {name}")}


def test_an_expired_allowance_for_a_file_counts_for_nothing(upstream: Upstream) -> None:
    first, *rest = foreign.files()
    late = first.model_copy(update={"expires": date(2020, 1, 1)})
    with pytest.raises(GateWantsApproval):
        fetch(upstream, pinned(upstream, late, *rest))


def test_an_allowance_for_the_same_name_here_is_for_other_bytes(upstream: Upstream) -> None:
    """An allowance limited to `bias.py` of this repository is none for the other repository's."""
    limited = tuple(
        a.model_copy(update={"path": name}) for a, name in zip(foreign.files(), CODE, strict=True)
    )
    with pytest.raises(GateWantsApproval):
        fetch(upstream, pinned(upstream, *limited))


def test_two_pins_for_one_repository_are_no_pin(upstream: Upstream) -> None:
    with pytest.raises(PolicyError, match="two commits"):
        fetch(upstream, pinned(upstream, pin(SHA)))


def test_all_that_is_allowed_comes_and_nothing_else(upstream: Upstream) -> None:
    snapshot = fetch(upstream, pinned(upstream, *foreign.files()))
    (code,) = snapshot.foreign
    assert {str(file.path) for file in code.manifest} == set(CODE)
    assert open_snapshot(snapshot.model_dir.parent) == snapshot
    for name in foreign.BESIDE:
        assert not upstream.asked(f"{OTHER}/resolve/{upstream.commit}/{name}")


# --- a Hub that lies about it -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (on(f"{OTHER}/resolve", flip_last_byte), "came twice with other bytes"),
        (on(f"/{OTHER}/tree", edited(lambda b: b.replace(b"bias.py", b"bads.py"))), "disagrees"),
        (on(f"/{OTHER}/git-upload-pack", edited(lambda b: b.replace(b"PACK", b"PACX"))), "git"),
        (on(f"/{OTHER}/info/refs", with_status(404)), "no git access"),
        (
            on(f"models/{OTHER}/revision", with_status(404, {"X-Error-Code": "RepoNotFound"})),
            "not found",
        ),
    ],
    ids=["bytes", "listing", "pack", "no-git", "gone"],
)
def test_lies_about_the_other_repository(upstream: Upstream, lie, words: str) -> None:
    upstream.lies = [lie]
    rules = pinned(upstream, *foreign.files())
    rules = rules.model_copy(
        update={"fetch": rules.fetch.model_copy(update={"commit_proof": "reported"})}
    )
    with pytest.raises(FetchError, match=words):
        fetch(upstream, rules)
    assert not list((upstream.home / "quarantine").glob("ours--*"))


def test_another_commit_than_the_pin(upstream: Upstream) -> None:
    other = upstream.hub.add(OTHER, upstream.root / "code", message="newer")
    change = edited(lambda body: body.replace(upstream.commit.encode(), other.encode()))
    upstream.lies = [on(f"models/{OTHER}/revision", change)]
    with pytest.raises(FetchError, match="asked for commit"):
        fetch(upstream, pinned(upstream, *foreign.files()))


def test_a_pin_that_the_repository_does_not_have(upstream: Upstream) -> None:
    with pytest.raises(FetchError):
        fetch(upstream, foreign.policy(pin(SHA), *foreign.files()))


def test_another_name_is_another_repository_even_where_renames_are_accepted(
    upstream: Upstream,
) -> None:
    upstream.hub.add("new/name", upstream.root / "code")
    moved = Reply(307, {"Location": f"/api/models/new/name/revision/{upstream.commit}"}, b"")
    upstream.lies = [on(f"models/{OTHER}/revision", lambda _q, _r: moved)]
    rules = pinned(upstream, *foreign.files())
    rules = rules.model_copy(
        update={"fetch": rules.fetch.model_copy(update={"renamed_repositories": "accept"})}
    )
    with pytest.raises(FetchError, match="now called"):
        fetch(upstream, rules)


def test_the_newest_commit_is_not_taken_for_the_pinned(upstream: Upstream) -> None:
    newer = {**CODE, "bias.py": b"TOKEN = 9\n"}
    upstream.hub.add(OTHER, write_tree(upstream.root / "newer", newer))
    snapshot = fetch(upstream, pinned(upstream, *foreign.files()))
    assert (snapshot.foreign[0].model_dir / "bias.py").read_bytes() == CODE["bias.py"]


# --- what the other repository's code says ----------------------------------------------------------


def with_code(tmp_path: Path, **changed: bytes) -> Upstream:
    return Upstream(tmp_path, {**CODE, **{f"{k}.py": body for k, body in changed.items()}})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path, {"bias.py": b"TOKEN = 1\n"})
    with pytest.raises(FetchError, match=r"configuration_own\.py"):
        fetch(upstream, pinned(upstream))


def test_imports_upwards_and_in_folders_are_followed_and_stay_inside(tmp_path: Path) -> None:
    code = {
        **CODE,
        "bias.py": b"from .deep.er import TOKEN\nfrom ... import os\n",
        "deep/er.py": b"from ..top import TOKEN\nfrom ....... import x\n",
        "top.py": b"TOKEN = 7\n",
    }
    upstream = Upstream(tmp_path, code)
    snapshot = fetch(upstream, pinned(upstream, *foreign.files(code)))
    assert {str(f.path) for f in snapshot.foreign[0].manifest} == set(code)


@pytest.mark.parametrize(
    "body",
    [
        b"def f(:\n",
        b"\xff\xfe\0",
        "x = 1  # \u202e evil\n".encode(),
        b"x = 'a\0b'\n",
        b"# coding: utf-7\nTOKEN = 1  # +AAo-import os\n",
    ],
)
def test_code_that_nobody_can_read_is_refused(tmp_path: Path, body: bytes) -> None:
    upstream = with_code(tmp_path, bias=body)
    rules = pinned(upstream, *foreign.files(upstream.code))
    with pytest.raises(GateRefused) as refused:
        fetch(upstream, rules)
    assert f"{OTHER}: bias.py" in {path for _, path in blocking(refused.value.verdict)}


def test_a_loop_of_imports_ends(tmp_path: Path) -> None:
    code = {**CODE, "bias.py": b"from .loop import TOKEN\n", "loop.py": b"from .bias import x\n"}
    upstream = Upstream(tmp_path, code)
    snapshot = fetch(upstream, pinned(upstream, *foreign.files(code)))
    assert {str(f.path) for f in snapshot.foreign[0].manifest} == set(code)


def test_a_chain_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_code, "MAX_FILES", 5)
    chain = {f"c{i}.py": f"from .c{i + 1} import x\n".encode() for i in range(9)}
    upstream = Upstream(tmp_path, {**CODE, "bias.py": b"from .c0 import x\n", **chain})
    with pytest.raises(FetchError, match="more than 5 files"):
        fetch(upstream, pinned(upstream))


def test_more_code_than_anybody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_code, "MAX_BYTES", 100)
    upstream = Upstream(tmp_path)
    with pytest.raises(FetchError, match="0 MiB"):
        fetch(upstream, pinned(upstream))


def test_code_that_names_a_third_repository_brings_nothing(tmp_path: Path) -> None:
    """A string in code is no reference of ours: nothing is fetched for it, and the lock has no net."""
    body = b"REFERENCE = 'third/repo--x.C'\nTOKEN = 7\n"
    upstream = with_code(tmp_path, bias=body)
    snapshot = fetch(upstream, pinned(upstream, *foreign.files(upstream.code)))
    assert len(snapshot.foreign) == 1
    assert not upstream.asked("third")


def test_a_configuration_of_the_other_repository_is_not_read(tmp_path: Path) -> None:
    """It names the model back; only code comes, so there is no loop to follow."""
    config = json.dumps({"auto_map": {"AutoModel": f"{MODEL}--x.C"}}).encode()
    upstream = Upstream(tmp_path, {**CODE, "config.json": config})
    snapshot = fetch(upstream, pinned(upstream, *foreign.files()))
    assert {str(f.path) for f in snapshot.foreign[0].manifest} == set(CODE)


# --- by its own name --------------------------------------------------------------------------------


def by_own_name(tmp_path: Path) -> Upstream:
    upstream = Upstream(tmp_path)
    directory = foreign.write_model(tmp_path / "own", MODEL)
    upstream.hub.add(MODEL, write_tree(directory, CODE))
    return upstream


def test_its_own_name_means_its_own_files(tmp_path: Path) -> None:
    upstream = by_own_name(tmp_path)
    snapshot = fetch(upstream, foreign.policy(*foreign.files()))
    assert snapshot.foreign == ()
    assert set(CODE) <= {str(f.path) for f in snapshot.manifest}


def test_its_own_files_need_their_allowances(tmp_path: Path) -> None:
    upstream = by_own_name(tmp_path)
    with pytest.raises(GateWantsApproval) as wanted:
        fetch(upstream, foreign.policy(pin(upstream.commit, MODEL)))
    assert blocking(wanted.value.verdict) == {("remote-code", name) for name in CODE}


# --- a policy that changes --------------------------------------------------------------------------


def test_an_earlier_pin_leaves_nothing_behind(upstream: Upstream) -> None:
    newer = {**CODE, "bias.py": b"TOKEN = 9\n"}
    later = upstream.hub.add(OTHER, write_tree(upstream.root / "newer", newer))
    with pytest.raises(GateWantsApproval):
        fetch(upstream, pinned(upstream))
    snapshot = fetch(upstream, foreign.policy(pin(later), *foreign.files(newer)))
    assert [code.pin.commit for code in snapshot.foreign] == [later]
    with pytest.raises(UnreadableInput, match="other commits than the policy pins"):
        fetch(upstream, pinned(upstream, *foreign.files()))


def test_a_pin_that_was_taken_back_leaves_nothing_behind(upstream: Upstream) -> None:
    with pytest.raises(GateWantsApproval):
        fetch(upstream, pinned(upstream))
    with pytest.raises(GateRefused) as refused:
        fetch(upstream, foreign.policy(*foreign.files()))
    assert ("foreign-code", "config.json") in blocking(refused.value.verdict)


# --- at rest ----------------------------------------------------------------------------------------


@pytest.fixture
def snapshot(upstream: Upstream):
    return fetch(upstream, pinned(upstream, *foreign.files()))


def root_of(snapshot) -> Path:
    return snapshot.model_dir.parent


def test_an_altered_file_is_noticed(snapshot) -> None:
    (snapshot.foreign[0].model_dir / "bias.py").write_bytes(b"TOKEN = 9\n")
    with pytest.raises(VerificationRefused, match=r"bias\.py.* changed"):
        open_snapshot(root_of(snapshot))


def altered(snapshot, body: bytes) -> None:
    """Alter a file and the record of it."""
    folder = snapshot.foreign[0].folder
    (folder / "model/bias.py").write_bytes(body)
    record = json.loads((folder / "snapshot.json").read_bytes())
    for row in record["files"]:
        if row["path"] == "bias.py":
            row |= {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}
    (folder / "snapshot.json").write_text(json.dumps(record))


def test_a_file_that_was_altered_with_its_record_is_not_the_commits(snapshot, tmp_path) -> None:
    altered(snapshot, b"TOKEN = 9\n")
    policy = foreign.policy()
    with pytest.raises(VerificationRefused, match=r"bias\.py.* differs from commit"):
        vet_and_seal(
            SealRequest(root_of(snapshot), policy, tmp_path / "x.bundle"),
            OpenGate(policy), lambda: None, on_verdict=lambda _: None,
        )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"repo": "third/repo"}, {"commit": SHA}, {"proof": "none"}, {"kind": "local"},
    ],
)  # fmt: skip
def test_a_record_of_something_else_is_refused(snapshot, change) -> None:
    path = snapshot.foreign[0].folder / "snapshot.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    with pytest.raises(FormatError, match="not a proved commit"):
        open_snapshot(root_of(snapshot))


@pytest.mark.parametrize(
    "name", ["x", "other--repo", "other--repo@main", f"other/repo@{SHA[:8]}", f"a--b--c@{SHA}"]
)
def test_odd_folders_are_refused(snapshot, name: str) -> None:
    (snapshot.foreign[0].folder.parent / name).mkdir(parents=True)
    with pytest.raises(FormatError):
        open_snapshot(root_of(snapshot))


def test_a_link_is_no_folder(snapshot) -> None:
    folder = snapshot.foreign[0].folder
    (folder.parent / f"a--b@{SHA}").symlink_to(folder)
    with pytest.raises(FormatError, match="not the folder"):
        open_snapshot(root_of(snapshot))


def test_code_within_code_is_refused(snapshot) -> None:
    folder = snapshot.foreign[0].folder
    copy = shutil.copytree(folder, root_of(snapshot).parent / "copy")
    (folder / "provenance/foreign").mkdir()
    copy.rename(folder / "provenance/foreign" / folder.name)
    with pytest.raises(FormatError, match="yet another"):
        open_snapshot(root_of(snapshot))


def test_a_verdict_without_the_code_seals_nothing(snapshot) -> None:
    """Or about other code: what the gate did not look at is not carried."""
    subject = Subject(snapshot.name, snapshot.manifest.digest)
    with pytest.raises(RuntimeError, match="another snapshot"):
        VettedSnapshot(snapshot, Verdict(subject, PolicyRef("p", snapshot.manifest.digest), ()))


# --- what is carried and not asked for --------------------------------------------------------------


def judged(snapshot, **changes):
    values = {"root": snapshot.model_dir, "repo": snapshot.source.repo,
              "foreign": snapshot.foreign_roots}  # fmt: skip
    candidate = Candidate("tuned", **(values | changes))
    rules = foreign.policy(pin(snapshot.foreign[0].pin.commit), *foreign.files())
    found = examine(candidate, rules, Stage.CONTENT)
    return allow(found.findings, rules, candidate, date(2026, 1, 1), complete=True)


def test_as_it_came_it_passes(snapshot) -> None:
    assert state_of(judged(snapshot)) is VerdictState.PASSED


def refused(findings) -> set[tuple[str, str]]:
    return {(f.check, f.path) for f in findings if f.disposition is Disposition.REFUSE}


def test_a_repository_that_nothing_names(snapshot, tmp_path: Path) -> None:
    extra = ForeignRoot(Pin("third/repo", SHA), write_tree(tmp_path / "extra", {"x.py": b""}))
    found = judged(snapshot, foreign=(*snapshot.foreign_roots, extra))
    assert refused(found) == {("foreign-code", f"third/repo@{SHA}")}


def test_one_repository_at_two_commits(snapshot, tmp_path: Path) -> None:
    extra = ForeignRoot(Pin(OTHER, SHA), write_tree(tmp_path / "extra", CODE))
    found = judged(snapshot, foreign=(*snapshot.foreign_roots, extra))
    assert ("foreign-code", "") in refused(found)


def test_something_else_than_code(snapshot) -> None:
    (snapshot.foreign[0].model_dir / "config.json").write_bytes(b"{}")
    assert ("foreign-code", f"{OTHER}: config.json") in refused(judged(snapshot))


def test_a_pickle_called_code(snapshot) -> None:
    (snapshot.foreign[0].model_dir / "x.py").write_bytes(b"\x80\x04\x95\x00\x00")
    assert f"{OTHER}: x.py" in {path for _, path in refused(judged(snapshot))}


def test_a_link_to_elsewhere(snapshot) -> None:
    (snapshot.foreign[0].model_dir / "x.py").symlink_to("/etc/passwd")
    assert f"{OTHER}: x.py" in {path for _, path in refused(judged(snapshot))}


def test_a_pin_of_another_commit_answers_for_nothing(snapshot) -> None:
    candidate = Candidate("tuned", snapshot.model_dir, foreign=snapshot.foreign_roots)
    rules = foreign.policy(pin(SHA), *foreign.files())
    found = allow(
        examine(candidate, rules, Stage.CONTENT).findings, rules, candidate, date(2026, 1, 1),
        complete=True,
    )  # fmt: skip
    text = snapshot.foreign[0].pin.text
    assert {(f.check, f.path) for f in found if f.blocks} == {("foreign-code", text)}


# --- pins as text -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "a/b", "a/b@", f"@{SHA}", "a/b@main", f"a/b@{SHA[:39]}", f"a/b@{SHA}\n", f"A/../b@{SHA}",
     f"a--b@{SHA}", f"a/b/c@{SHA}", f"a/b@@{SHA}", f"a/b@{'F' * 40}", f" a/b@{SHA}"],
)  # fmt: skip
def test_a_pin_has_one_spelling(text: str) -> None:
    with pytest.raises(FormatError):
        parse_pin(text)


@pytest.mark.parametrize("repo", ["a/b", "b", "A.b/c_d-e"])
def test_a_pin_and_its_folder_are_one(repo: str) -> None:
    pin = parse_pin(f"{repo}@{SHA}")
    assert parse_label(pin.label) == pin
    assert pin.digest == hashlib.sha256(pin.text.encode()).hexdigest()
