"""Admission: every step counts, the gate's word is final, names go back only on purpose."""

import json
import multiprocessing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pratique.admit.admit import Naming
from pratique.admit.load import check_signatures, open_admitted
from pratique.attest.install import installed_trust, revoke_now
from pratique.attest.trustfile import Revocation
from pratique.core.findings import Disposition, PolicyRef, Subject, Verdict
from pratique.core.ids import Digest
from pratique.core.policy import Policy
from pratique.core.snapshot import SnapshotDocument, SnapshotFile, VettedSnapshot
from pratique.errors import (
    ApprovalNeeded,
    PratiqueError,
    SealError,
    StorageError,
    UnreadableInput,
    UsageError,
    VerificationRefused,
    VettingRefused,
)
from pratique.flows.admit import times_seen
from pratique.flows.describe import describe, difference, model_files, report_of
from pratique.flows.sealing import SealRequest, check_reproducible, vet_and_seal
from pratique.seal.seal import seal
from pratique.store import records
from pratique.store.cas import open_store
from pratique.store.quarantine import document_bytes, hash_tree
from pratique.store.upkeep import check_store
from tests.support.bundles import (
    FILES,
    FIPS,
    NOW,
    POLICY,
    OpenGate,
    World,
    make_world,
    refusing_gate,
    sealing_of,
    write_tiny,
)
from tests.support.commits import write_commit


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def opened(world: World, reference: str = "tiny", **changes: object) -> object:
    values: dict[str, object] = {"now": NOW, "policy": POLICY}
    return open_admitted(world.home, reference, **(values | changes))  # type: ignore[arg-type]


def admitted_labels(world: World) -> list[str]:
    try:
        return [r.label for r in records.admissions(open_store(world.home))]
    except UnreadableInput:
        return []


# --- the good way -------------------------------------------------------------------------------------


def test_admitted_model_can_be_loaded_in_place(world: World) -> None:
    admitted = world.admit(world.bundle())
    for name, data in FILES.items():
        path = admitted.model_dir / name
        assert path.read_bytes() == data
        assert path.is_file()
        assert not path.is_symlink()
        assert path.stat().st_mode & 0o222 == 0
    assert admitted.model_dir == admitted.model_dir.resolve()
    assert admitted.permitted_rungs == ("auto", "device_map", "int8", "nf4")
    assert [a.signer.person for a in admitted.approvals] == ["anton"]
    assert admitted.expires == NOW + timedelta(days=90)
    assert {f.path for f in admitted.files} >= {"model/config.json", "evidence/verdict.json"}


def test_opened_is_what_was_admitted(world: World) -> None:
    admitted = world.admit(world.bundle())
    again = open_admitted(world.home, "tiny", now=NOW, policy=POLICY)
    assert again.bundle_id == admitted.bundle_id
    assert again.model_dir == admitted.model_dir
    assert again.document == admitted.document


def test_admitting_twice_changes_nothing(world: World) -> None:
    bundle = world.bundle()
    one, two = world.admit(bundle), world.admit(bundle)
    assert one.model_dir == two.model_dir
    assert admitted_labels(world) == [one.label]


def test_approval_added_later_is_taken_over(world: World) -> None:
    bundle = world.bundle()
    world.admit(bundle)
    world.approve(bundle, reason="for another year", valid_for=timedelta(days=300))
    assert world.admit(bundle).expires == NOW + timedelta(days=300)
    assert open_admitted(world.home, "tiny", now=NOW, policy=POLICY).expires == NOW + timedelta(
        days=300
    )


def test_rungs_are_what_approvals_and_policy_share(world: World) -> None:
    sealed = world.sealed()
    world.approve(sealed, rungs=("auto", "nf4"))
    policy = Policy.model_validate(
        {"schema": "pratique.policy/v1", "name": "p", "serve": {"rungs": ("nf4", "int8", "auto")}}
    )
    admitted = world.admit(sealed, policy=policy, gate=OpenGate(policy))
    assert admitted.permitted_rungs == ("nf4", "auto")


def test_admission_under_fips(world: World) -> None:
    world.admit(world.bundle(), policy=FIPS, gate=OpenGate(FIPS))
    open_admitted(world.home, "tiny", now=NOW, policy=FIPS)


def test_sealed_under_fips_loads_under_any_policy(world: World) -> None:
    sealed = world.sealed(policy=FIPS)
    world.approve(sealed)
    world.admit(sealed)
    opened(world)


# --- the gate -----------------------------------------------------------------------------------------


def test_gates_refusal_is_final(world: World) -> None:
    with pytest.raises(VettingRefused, match=r"config\.json: is wrong") as caught:
        world.admit(world.bundle(), gate=refusing_gate())
    assert caught.value.exit_code == 10
    assert admitted_labels(world) == []


def test_what_needs_approval_is_not_admitted(world: World) -> None:
    with pytest.raises(ApprovalNeeded) as caught:
        world.admit(world.bundle(), gate=refusing_gate(Disposition.APPROVE))
    assert caught.value.exit_code == 13
    assert admitted_labels(world) == []


def test_verdict_about_other_files_is_misuse(world: World) -> None:
    class Absent(OpenGate):
        def judge(self, candidate: object, stage: object) -> Verdict:
            reference = PolicyRef(POLICY.name, POLICY.digest)
            return Verdict(Subject("x", Digest("0" * 64)), reference, ())

    with pytest.raises(RuntimeError, match="other files"):
        world.admit(world.bundle(), gate=Absent())
    assert admitted_labels(world) == []


def test_gate_that_raises_admits_nothing(world: World) -> None:
    class Broken(OpenGate):
        def judge(self, candidate: object, stage: object) -> Verdict:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        world.admit(world.bundle(), gate=Broken())
    assert admitted_labels(world) == []


def test_notes_do_not_stand_in_the_way(world: World) -> None:
    finding = refusing_gate(Disposition.NOTE).findings
    world.admit(world.bundle(), gate=OpenGate(findings=finding))


# --- time, trust, revocation --------------------------------------------------------------------------


def test_expired_approval_no_longer_opens(world: World) -> None:
    world.admit(world.bundle())
    with pytest.raises(VerificationRefused, match="expired"):
        opened(world, now=NOW + timedelta(days=91))


def test_revoked_bundle_no_longer_opens(world: World) -> None:
    admitted = world.admit(world.bundle())
    revoke_now(
        world.home, Revocation(kind="bundle", id=admitted.bundle_id, at=NOW, reason="poisoned")
    )
    with pytest.raises(VerificationRefused, match="poisoned"):
        opened(world)
    with pytest.raises(VerificationRefused, match="poisoned"):
        world.admit(world.root / "bundles/tiny.bundle")


def test_revocation_is_noticed_without_reading_the_model(world: World) -> None:
    """What a running server asks every minute."""
    admitted = world.admit(world.bundle())
    store = open_store(world.home)
    record = records.resolve(store, "tiny")
    check_signatures(store, record, trust=installed_trust(world.home), policy=POLICY, now=NOW)
    revoke_now(
        world.home,
        Revocation(
            kind="model",
            id=dict(admitted.statement.files)["model/model.safetensors"],
            at=NOW,
            reason="bad",
        ),  # type: ignore[index]
    )
    with pytest.raises(VerificationRefused, match="revoked"):
        check_signatures(store, record, trust=installed_trust(world.home), policy=POLICY, now=NOW)


def test_stale_trust_stops_admission_before_serving(world: World) -> None:
    policy = Policy.model_validate(
        {"schema": "pratique.policy/v1", "name": "p", "trust": {"max_trust_age_days": 10}}
    )
    bundle = world.bundle()
    world.admit(bundle, policy=policy, gate=OpenGate(policy))
    later = NOW + timedelta(days=11)
    with pytest.raises(VerificationRefused, match="stale"):
        world.admit(bundle, policy=policy, gate=OpenGate(policy), now=later)
    opened(world, policy=policy, now=later)
    with pytest.raises(VerificationRefused, match="stale"):
        opened(world, policy=policy, now=NOW + timedelta(days=41))


def test_no_trust_no_admission(world: World, tmp_path: Path) -> None:
    with pytest.raises(VerificationRefused, match="no root of trust"):
        installed_trust(tmp_path / "elsewhere")


def test_times_that_signatures_vouch_for(world: World) -> None:
    assert times_seen(world.admit(world.bundle())) == (NOW,)


# --- names --------------------------------------------------------------------------------------------


def two_versions(world: World) -> tuple[Path, Path]:
    """An older and a newer bundle of one model, by when their snapshots were taken."""
    new = world.bundle("tiny")
    old_model = write_tiny(world.root / "old/tiny", {**FILES, "config.json": b'{"v": 0}\n'})
    document = snapshot_document(old_model, taken_at="2020-01-01T00:00:00+00:00")
    snapshot = as_snapshot(old_model, document)
    old = vet_and_seal(
        SealRequest(snapshot, POLICY, world.root / "bundles/old.bundle"),
        OpenGate(),
        lambda: world.vetter,
        on_verdict=lambda _: None,
    ).path
    world.approve(old)
    return old, new


def snapshot_document(model: Path, *, taken_at: str, commit: str | None = None) -> SnapshotDocument:
    return SnapshotDocument(
        schema="pratique.snapshot/v1",
        name="tiny",
        kind="hub" if commit else "local",
        requested="main",
        repo="org/tiny" if commit else None,
        commit=commit,
        endpoint="http://hub.invalid" if commit else None,
        proof="verified" if commit else "not-applicable",
        taken_at=taken_at,
        files=tuple(
            SnapshotFile(path=f.path, size=f.size, sha256=f.sha256) for f in hash_tree(model)
        ),
    )


def as_snapshot(model: Path, document: SnapshotDocument) -> Path:
    """Turn a model directory into a snapshot directory around it."""
    root = model.parent / "snapshot"
    root.mkdir()
    model.rename(root / "model")
    (root / "provenance").mkdir(exist_ok=True)
    (root / "snapshot.json").write_bytes(document_bytes(document))
    return root


def test_name_goes_back_only_with_a_reason(world: World) -> None:
    old, new = two_versions(world)
    newer = world.admit(new)
    with pytest.raises(VerificationRefused, match="older") as caught:
        world.admit(old)
    assert "--rollback" in caught.value.hint
    assert admitted_labels(world) == [newer.label]
    older = world.admit(old, Naming(rollback="the new one stutters"))
    assert older.replaced == newer.bundle_id
    alias = records.read_alias(open_store(world.home), "tiny")
    assert alias is not None
    assert alias.bundle_id == older.bundle_id
    assert [move.reason for move in alias.moves] == [None, "the new one stutters"]


def test_name_goes_forward_freely(world: World) -> None:
    old, new = two_versions(world)
    world.admit(old)
    admitted = world.admit(new)
    assert open_admitted(world.home, "tiny", now=NOW, policy=POLICY).bundle_id == admitted.bundle_id


def test_older_bundle_under_a_name_of_its_own(world: World) -> None:
    old, new = two_versions(world)
    world.admit(new)
    assert world.admit(old, Naming("tiny-old")).name == "tiny-old"
    assert open_admitted(world.home, "tiny-old", now=NOW, policy=POLICY).name == "tiny-old"


@pytest.mark.parametrize("name", ["../x", "", "a b", ".hidden", "x" * 200])
def test_odd_names_are_refused(world: World, name: str) -> None:
    if name == "":
        return  # the same as no name
    with pytest.raises(PratiqueError, match="not a name"):
        world.admit(world.bundle(), Naming(name))
    assert admitted_labels(world) == []


def test_damaged_record_heals_when_admitted_again(world: World) -> None:
    bundle = world.bundle()
    admitted = world.admit(bundle)
    open_store(world.home).admission(admitted.bundle_id).write_bytes(b"{")
    with pytest.raises(StorageError, match="damaged"):
        opened(world)
    world.admit(bundle)
    opened(world)


# --- the commit proof ---------------------------------------------------------------------------------


def proven_bundle(world: World, commit: str | None = None) -> Path:
    files = {"config.json": b"{}\n", "model.safetensors": b"weights"}
    model = write_tiny(world.root / "proven/tiny", files)
    provenance = world.root / "proven/snapshot/provenance"
    found = write_commit(world.root / "proven/provenance", files)
    snapshot = as_snapshot(
        model,
        snapshot_document(model, taken_at="2026-01-01T00:00:00+00:00", commit=commit or found),
    )
    provenance.rmdir()
    (world.root / "proven/provenance").rename(provenance)
    sealed = vet_and_seal(
        SealRequest(snapshot, POLICY, world.root / "proven/tiny.bundle"),
        OpenGate(),
        lambda: world.vetter,
        on_verdict=lambda _: None,
    ).path
    world.approve(sealed)
    return sealed


def test_commit_is_proven_and_shown(world: World) -> None:
    bundle = proven_bundle(world)
    verified = world.verify(bundle)
    assert verified.document.commit_proof == "verified"
    assert any(s.name == "commit" and "2 files tied" in s.detail for s in verified.steps)
    world.admit(bundle)
    record = records.resolve(open_store(world.home), "tiny")
    assert record.commit_time == 1_700_000_000
    found = describe(world.home, "tiny", policy=POLICY, now=NOW)
    commit = found.commit()
    assert commit is not None
    assert commit.author.name == "Ada Author"


def test_claimed_proof_is_checked_before_sealing(world: World) -> None:
    with pytest.raises(VerificationRefused, match="not of"):
        proven_bundle(world, commit="ab" * 20)
    assert not (world.root / "proven/tiny.bundle").exists()


# --- reproducing, describing, comparing -----------------------------------------------------------------


def test_existing_target_is_refused_before_vetting(world: World) -> None:
    world.sealed()
    request = SealRequest(world.root / "models/tiny", POLICY, world.root / "bundles/tiny.bundle")

    def never(_: Verdict) -> None:
        pytest.fail("vetted")

    with pytest.raises(PratiqueError, match="exists"):
        vet_and_seal(request, OpenGate(), lambda: world.vetter, on_verdict=never)


def test_seal_check_accepts_what_it_would_seal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = world.sealed()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")  # the bundle's own clock counts, not today's
    request = SealRequest(world.root / "models/tiny", POLICY)
    check_reproducible(request, bundle, OpenGate(), on_verdict=lambda _: None)


def test_seal_check_names_what_differs(world: World) -> None:
    bundle = world.sealed()
    (bundle / "payload/model/config.json").write_bytes(b"{}")
    request = SealRequest(world.root / "models/tiny", POLICY)
    with pytest.raises(PratiqueError, match=r"model/config\.json"):
        check_reproducible(request, bundle, OpenGate(), on_verdict=lambda _: None)


def test_clock_comes_from_the_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    document = json.loads((world.sealed() / "payload/bundle.json").read_bytes())
    assert document["created"] == "2023-11-14T22:13:20Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(PratiqueError, match="SOURCE_DATE_EPOCH"):
        world.sealed()


def taken(world: World, ahead: timedelta) -> Path:
    """A bundle whose vetter says that the snapshot was taken so long after now."""
    sealing = sealing_of(write_tiny(world.root / "models/tiny"))
    snapshot = replace(sealing.vetted.snapshot, taken_at=NOW + ahead)
    vetted = VettedSnapshot(snapshot, sealing.vetted.verdict)
    return seal(replace(sealing, vetted=vetted), world.vetter, world.root / "tiny.bundle").path


DAY = timedelta(days=1)


@pytest.mark.parametrize("verb", ["approve", "verify", "admit"])
def test_a_bundle_from_the_future_is_refused(
    world: World, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every later version would count as older, and need --rollback for ever."""
    bundle = taken(world, DAY + timedelta(seconds=1))
    if verb != "approve":
        with monkeypatch.context() as patch:  # an approver who looked at it with another version
            patch.setattr("pratique.flows.approve.check_taken", lambda *_: None)
            world.approve(bundle)
    judged = {"approve": world.approve, "verify": world.verify, "admit": world.admit}[verb]
    with pytest.raises(VerificationRefused, match="says that it was taken at") as refused:
        judged(bundle)
    assert "clock" in refused.value.hint
    assert admitted_labels(world) == []
    assert verb != "approve" or not (bundle / "signatures/approver.sig").exists()


def test_clocks_may_differ_by_a_day(world: World) -> None:
    bundle = taken(world, DAY)
    world.approve(bundle)
    world.verify(bundle)
    assert world.admit(bundle).name == "tiny"


@pytest.mark.parametrize(
    ("ahead", "stops"), [(timedelta(hours=23), False), (timedelta(hours=25), True)]
)
def test_a_snapshot_from_the_future_is_not_sealed(
    world: World, ahead: timedelta, *, stops: bool
) -> None:
    taken_at = datetime.now(UTC).replace(microsecond=0) + ahead
    model = write_tiny(world.root / "far/tiny")
    snapshot = as_snapshot(model, snapshot_document(model, taken_at=taken_at.isoformat()))
    request = SealRequest(snapshot, POLICY, world.root / "future.bundle")

    def sealed() -> Path:
        gate = OpenGate()
        return vet_and_seal(request, gate, lambda: world.vetter, on_verdict=lambda _: None).path

    if stops:
        with pytest.raises(SealError, match="was taken at"):
            sealed()
        assert not list(world.root.glob("*.bundle"))
    else:
        assert sealed().is_dir()


def test_an_epoch_from_the_future(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for hours, fits in ((23, True), (25, False)):
        ahead = datetime.now(UTC) + timedelta(hours=hours)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(ahead.timestamp())))
        if fits:
            world.sealed()
        else:
            with pytest.raises(UsageError, match="is in the future"):
                world.sealed()


def test_description_says_when_signatures_do_not_hold(world: World) -> None:
    found = describe(world.home, str(world.sealed()), policy=POLICY, now=NOW)
    assert found.statement is None
    assert "approver" in found.refused
    assert "not accepted here" in report_of(found).decode()


def test_difference_of_two_versions(world: World) -> None:
    one = str(world.bundle("one"))
    changed = {**FILES, "config.json": b"[]\n", "new.txt": b"new"}
    del changed["empty.txt"]
    two = write_tiny(world.root / "two", changed)
    before = model_files(world.home, one, policy=POLICY, now=NOW)
    after = model_files(world.home, str(two), policy=POLICY, now=NOW)
    found = difference(before, after)
    assert [f.path for f in found.added] == ["new.txt"]
    assert [f.path for f in found.removed] == ["empty.txt"]
    assert [f.path for f in found.changed] == ["config.json"]


# --- several at once ----------------------------------------------------------------------------------


def test_concurrent_admissions(world: World) -> None:
    bundles = [world.bundle(f"m{n}", {**FILES, "own.txt": b"%d" % n}) for n in range(6)]
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=world.admit, args=(b,)) for b in bundles * 2]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0] * 12
    store = open_store(world.home)
    assert check_store(store) == []
    for number in range(6):
        open_admitted(world.home, f"m{number}", now=NOW, policy=POLICY)
