"""A model whose code lies in another repository: fetched by pin, sealed, approved, admitted, served."""

import base64
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import httpx
import pytest

from pratique.admit.verify import verify_bundle
from pratique.attest.install import installed_trust
from pratique.cli.main import run
from pratique.core.findings import PolicyRef, Subject, Verdict
from pratique.core.snapshot import VettedSnapshot
from pratique.errors import ApprovalNeeded, FormatError, SealError, VerificationRefused
from pratique.flows.approve import Terms, sign_and_attach, vet_for_approval
from pratique.flows.sealing import SealRequest, check_reproducible, vet_and_seal
from pratique.formats.bundle import parse_bundle_document
from pratique.seal.seal import Sealing, seal
from pratique.serve.session import Wishes, opened
from pratique.store.quarantine import open_snapshot
from pratique.vet import LocalGate
from tests.support import foreign
from tests.support.bundles import NOW, OpenGate, World, make_world, write_tiny
from tests.support.foreign import CODE, OTHER, Judging, Upstream, pin
from tests.support.serving import serving_session


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def upstream(tmp_path_factory) -> Upstream:
    return Upstream(tmp_path_factory.mktemp("upstream"))


@pytest.fixture(scope="module")
def policy(upstream: Upstream):
    return foreign.policy(pin(upstream.commit), *foreign.files())


@pytest.fixture(scope="module")
def snapshot(upstream: Upstream, policy):
    return upstream.fetch(policy, Judging(policy))


@pytest.fixture(scope="module")
def original(world: World, snapshot, policy) -> Path:
    return bundled(world, snapshot.model_dir.parent, policy, "original", Judging(policy))


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy.bundle"))


def bundled(world: World, snapshot: Path, policy, name: str, gate) -> Path:
    output = world.root / f"{name}.bundle"
    request = SealRequest(snapshot, policy, output)
    vet_and_seal(request, gate, lambda: world.vetter, on_verdict=lambda _: None)
    approve(world, output, policy, gate)
    return output


def approve(world: World, bundle: Path, policy, gate) -> None:
    terms = Terms(policy=policy, reason="looked at it", now=NOW)
    approval = vet_for_approval(bundle, terms, gate, on_verdict=lambda _: None)
    sign_and_attach(bundle, approval, world.approver, world.home)


def verify(world: World, bundle: Path, policy) -> None:
    verify_bundle(bundle, trust=installed_trust(world.home), policy=policy, now=NOW)


# --- sealed -----------------------------------------------------------------------------------------


def test_it_is_carried_under_the_signature_and_proved(
    world: World, upstream: Upstream, snapshot, original: Path, policy
) -> None:
    label = f"other--repo@{upstream.commit}"
    payload = original / "payload"
    assert {p.name for p in (payload / "foreign" / label).iterdir()} == set(CODE)
    assert (payload / "provenance/foreign" / label / "git/commit").is_file()
    assert (payload / "provenance/foreign" / label / "record.json").is_file()
    document = json.loads((payload / "bundle.json").read_bytes())
    assert document["foreign"] == [{"commit": upstream.commit, "repo": OTHER}]
    listed = (payload / "SHA256SUMS").read_text()
    assert all(f"foreign/{label}/{name}" in listed for name in CODE)
    verify(world, original, policy)
    request = SealRequest(snapshot.model_dir.parent, policy)
    check_reproducible(request, original, Judging(policy), on_verdict=lambda _: None)


def test_what_was_taken_is_written_down(upstream: Upstream, snapshot) -> None:
    rows = json.loads((snapshot.model_dir.parent / "provenance/foreign.json").read_bytes())["pins"]
    assert [(r["kind"], r["named_in"], r["repo"], r["commit"], r["snapshot"]) for r in rows] == [
        ("code", "config.json", OTHER, upstream.commit,
         f"provenance/foreign/other--repo@{upstream.commit}")
    ]  # fmt: skip
    assert rows[0]["manifest"] == snapshot.foreign[0].manifest.digest


def test_the_approval_says_which_commit_and_which_files(original: Path, upstream: Upstream) -> None:
    envelope = json.loads((original / "signatures/approver.sig").read_bytes())["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    allowed = json.loads(payload)["predicate"]["pratique_approval"]["allowances"]
    assert {a.get("foreign") for a in allowed} == {None, f"{OTHER}@{upstream.commit}"}
    assert len(allowed) == 1 + len(CODE)


def test_who_wrote_an_allowance_does_not_approve_it(
    world: World, original: Path, upstream: Upstream, tmp_path: Path
) -> None:
    """With the real checks: what the verdict rests on is in the approval, so it can be looked at."""
    own = foreign.policy(pin(upstream.commit, owner="Anton"), *foreign.files())
    bundle = Path(shutil.copytree(original, tmp_path / "own.bundle"))
    (bundle / "signatures/approver.sig").unlink()
    with pytest.raises(SealError, match="wrote the allowance"):
        approve(world, bundle, own, Judging(own))


def test_vet_judges_a_bundle_with_all_that_it_carries(
    original: Path, policy, upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Allowances as `vet` prints them are limited to repository and commit: the bundle says which."""
    limits = {"repo": foreign.MODEL, "commit": upstream.model_commit}
    entries = [a.model_copy(update=limits) for a in policy.allow]
    lines = ['schema = "pratique.policy/v1"', 'name = "own"', "[serve]", 'lock = "reduced"']
    for entry in entries:
        given = entry.model_dump(mode="json", exclude_none=True)
        expires = given.pop("expires")
        lines += ["[[allow]]", *(f"{k} = {json.dumps(v)}" for k, v in given.items())]
        lines.append(f"expires = {expires}")
    file = tmp_path / "own.toml"
    file.write_text("\n".join(lines) + "\n")
    home = ["--home", str(tmp_path / "home")]
    assert run([*home, "vet", str(original), "--policy", str(file)]) == 0, capsys.readouterr().out
    assert run([*home, "vet", str(original), "--policy", "standard"]) == 13
    assert f"{OTHER}@{upstream.commit}" in capsys.readouterr().out


def parts(bundle: Path) -> list[Path]:
    below = [bundle / "payload/foreign", bundle / "payload/provenance/foreign"]
    return sorted(p for folder in below for p in folder.rglob("*") if p.is_file())


def test_every_altered_or_missing_file_of_it_is_refused(world: World, bundle: Path, policy) -> None:
    for path in parts(bundle):
        body = path.read_bytes()
        path.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
        with pytest.raises(VerificationRefused):
            verify(world, bundle, policy)
        path.unlink()
        with pytest.raises(VerificationRefused):
            verify(world, bundle, policy)
        path.write_bytes(body)
    verify(world, bundle, policy)


def test_a_file_beside_it_is_refused(world: World, bundle: Path, policy) -> None:
    (parts(bundle)[0].parent / "more.py").write_bytes(b"")
    with pytest.raises(VerificationRefused):
        verify(world, bundle, policy)


def signed(world: World, root: Path, policy, target: Path) -> Path:
    """A bundle that its vetter signed without the flow's checks: what a stolen key can do."""
    snapshot = open_snapshot(root)
    pins = tuple((code.pin.text, code.manifest.digest) for code in snapshot.foreign)
    subject = Subject(snapshot.name, snapshot.manifest.digest, foreign=pins)
    verdict = Verdict(subject, PolicyRef(policy.name, policy.digest), ())
    sealing = Sealing(VettedSnapshot(snapshot, verdict), policy, NOW, {}, {})
    return seal(sealing, world.vetter, target).path


@pytest.mark.parametrize("body", [b"TOKEN = 9\n", None])
def test_code_that_is_not_the_commits_is_refused_whoever_signed_it(
    world: World, snapshot, tmp_path: Path, body: bytes | None
) -> None:
    """Altered, or another file than the commit has."""
    policy = foreign.policy()
    root = Path(shutil.copytree(snapshot.model_dir.parent, tmp_path / "snapshot"))
    (folder,) = (root / "provenance/foreign").iterdir()
    name = "more.py" if body is None else "bias.py"
    (folder / "model" / name).write_bytes(body or b"")
    record = json.loads((folder / "snapshot.json").read_bytes())
    rows = [row for row in record["files"] if row["path"] != name]
    digest = hashlib.sha256(body or b"").hexdigest()
    record["files"] = [*rows, {"path": name, "size": len(body or b""), "sha256": digest}]
    (folder / "snapshot.json").write_text(json.dumps(record))
    bundle = signed(world, root, policy, tmp_path / "x.bundle")
    gate = OpenGate(policy)
    with pytest.raises(VerificationRefused, match=name):
        approve(world, bundle, policy, gate)


def test_a_gate_that_did_not_look_at_the_code_admits_nothing(
    world: World, original: Path, policy
) -> None:
    class Blind(Judging):
        def judge(self, candidate, stage):
            verdict = super().judge(candidate, stage)
            return dataclasses.replace(
                verdict, subject=dataclasses.replace(verdict.subject, foreign=())
            )

    with pytest.raises(RuntimeError, match="other files"):
        world.admit(original, policy=policy, gate=Blind(policy))


def test_the_enclaves_own_policy_decides_again(world: World, original: Path, policy) -> None:
    for missing in range(len(policy.allow)):
        fewer = policy.model_copy(
            update={"allow": tuple(a for i, a in enumerate(policy.allow) if i != missing)}
        )
        with pytest.raises(ApprovalNeeded, match=r"other/repo"):
            world.admit(original, policy=fewer, gate=Judging(fewer))


SHA = "5" * 40


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["foreign"].append({"repo": OTHER, "commit": SHA}), "twice"),
        (lambda d: d["foreign"].append({"repo": "Other/Repo", "commit": SHA}), "twice"),
        (lambda d: d["foreign"].append({"repo": "ours/tuned", "commit": SHA}), "its own"),
        (lambda d: d["foreign"].append({"repo": "third/repo", "commit": SHA}), "no file"),
        (lambda d: d["foreign"].clear(), "no repository"),
        (lambda d: d.pop("foreign"), "no repository"),
        (lambda d: d["foreign"][0].update(commit=SHA), "no repository"),
        (lambda d: d["foreign"][0].update(commit="main"), "main"),
        (lambda d: d["foreign"][0].update(repo="../x"), "not a repository"),
        (lambda d: d["foreign"][0].update(more=1), "malformed"),
        (lambda d: d.update(foreign=[{"repo": f"a/b{i}", "commit": SHA} for i in range(9)]), ""),
    ],
)
def test_a_document_that_contradicts_itself_is_none(original: Path, change, words: str) -> None:
    document = json.loads((original / "payload/bundle.json").read_bytes())
    change(document)
    with pytest.raises(FormatError, match=words or None):
        parse_bundle_document(_canonical(document))


def test_a_bundle_without_it_has_no_such_key(world: World) -> None:
    data = (world.sealed() / "payload/bundle.json").read_bytes()
    document = json.loads(data)
    assert "foreign" not in document
    with pytest.raises(FormatError, match="canonical"):
        parse_bundle_document(_canonical(document | {"foreign": []}))


def _canonical(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


# --- served -----------------------------------------------------------------------------------------


def answers(world: World, model, policy) -> list[object]:
    wishes = Wishes(context=64, rows=2)
    with (
        opened(model, world.home, policy=policy, wishes=wishes) as session,
        serving_session(session) as url,
    ):
        body = {"model": model.name, "prompt": "a b c", "max_tokens": 8, "temperature": 0,
                "logprobs": 2}  # fmt: skip
        response = httpx.post(f"{url}/v1/completions", json=body, timeout=60)
        assert response.status_code == 200, response.text
        choice = response.json()["choices"][0]
        return [choice["text"], choice["logprobs"]]


@pytest.fixture(scope="module")
def in_place(world: World) -> list[object]:
    """What the same model says with the code among its own files."""
    directory = foreign.write_model(world.root / "models/inplace", "")
    write_tiny(directory, dict(CODE))
    policy = foreign.policy(*foreign.files())
    gate = Judging(policy)
    bundle = bundled(world, directory, policy, "inplace", gate)
    return answers(world, world.admit(bundle, policy=policy, gate=gate), policy)


@pytest.mark.slow
def test_it_runs_offline_in_the_lock_as_the_same_code_in_place_does(
    world: World, upstream: Upstream, in_place: list[object]
) -> None:
    policy = foreign.policy(pin(upstream.commit), *foreign.files())
    gate = LocalGate(policy)
    snapshot = upstream.fetch(policy, gate, into=world.root / "whole")
    bundle = bundled(world, snapshot.model_dir.parent, policy, "elsewhere", gate)
    model = world.admit(bundle, policy=policy, gate=gate)
    assert answers(world, model, policy) == in_place
    for missing in range(len(policy.allow)):
        fewer = policy.model_copy(
            update={"allow": tuple(a for i, a in enumerate(policy.allow) if i != missing)}
        )
        with (
            pytest.raises(ApprovalNeeded, match=r"other/repo"),
            opened(model, world.home, policy=fewer, wishes=Wishes()),
        ):
            pass


@pytest.mark.slow
def test_its_own_name_runs_its_own_files(
    world: World, tmp_path: Path, in_place: list[object]
) -> None:
    upstream = Upstream(tmp_path)
    directory = foreign.write_model(tmp_path / "own", foreign.MODEL)
    upstream.hub.add(foreign.MODEL, write_tiny(directory, dict(CODE)))
    policy = foreign.policy(*foreign.files())
    gate = Judging(policy)
    snapshot = upstream.fetch(policy, gate)
    bundle = bundled(world, snapshot.model_dir.parent, policy, "own-name", gate)
    model = world.admit(bundle, policy=policy, gate=gate)
    assert answers(world, model, policy) == in_place
