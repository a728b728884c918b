"""What somebody tried who had built none of it: with one key, in haste, or as the store's own user."""

import os
from datetime import timedelta

import pytest

from pratique.admit.admit import Naming
from pratique.admit.load import open_admitted
from pratique.attest import timestamp
from pratique.attest.install import revoke_now
from pratique.attest.revoking import lifted, revocation
from pratique.attest.trustfile import read_revocations, write_revocations
from pratique.cli.main import run
from pratique.core.policy import Allowance
from pratique.errors import UnreadableInput, VerificationRefused
from pratique.flows.approve import Terms, attach, vet_for_approval
from pratique.serve.launch import Model
from pratique.store import content
from tests.support.bundles import FIPS, NOW, POLICY, OpenGate, make_world
from tests.support.localsigstore import Timestamper, der
from tests.support.trustkit import Kit, digest, disk_without_waiting

__all__ = ["disk_without_waiting"]  # a fixture, used by being here


@pytest.fixture
def kit(tmp_path):
    kit = Kit(tmp_path).init()
    kit.install()
    return kit


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path / "world")


def allowance(owner, now):
    return Allowance(
        check="remote-code",
        digest=digest("d"),
        reason="read line by line",
        owner=owner,
        expires=(now + timedelta(days=30)).date(),
    )


@pytest.mark.parametrize(
    "owner",
    [
        "Bea <bea@ships.example>",
        "b\N{COMBINING ACUTE ACCENT}ea",
        "\N{FULLWIDTH LATIN SMALL LETTER B}ea",
        "b\N{ZERO WIDTH SPACE}ea",
        "bea.",
        "harbour team (bea)",
    ],
)
def test_ones_own_allowance_under_another_spelling(kit, owner):
    approved = kit.approve(allowances=(allowance(owner, kit.now),))
    with pytest.raises(VerificationRefused, match="approves an allowance of their own"):
        kit.verify(kit.good() | {"approver.sig": approved})


def test_ones_own_allowance_by_the_short_form_of_ones_key(kit):
    owner = f"key {kit.signer('bea').key_id[:16]}"
    approved = kit.approve(allowances=(allowance(owner, kit.now),))
    with pytest.raises(VerificationRefused, match="approves an allowance of their own"):
        kit.verify(kit.good() | {"approver.sig": approved})


@pytest.mark.parametrize("owner", ["beatrice", "bea2", "Ann <ann@ships.example>"])
def test_an_allowance_of_somebody_with_a_similar_name_is_accepted(kit, owner):
    approved = kit.approve(allowances=(allowance(owner, kit.now),))
    assert kit.verify(kit.good() | {"approver.sig": approved}).approvals


@pytest.mark.parametrize("name", ["Ann", "ANN", " ann", "\N{FULLWIDTH LATIN SMALL LETTER A}nn"])
def test_a_person_is_revoked_whatever_the_spelling(kit, name):
    revoke_now(kit.home, revocation(kind="identity", what=name, reason="gone", at=kit.now))
    with pytest.raises(VerificationRefused, match="identity revoked since"):
        kit.verify(kit.good())


def test_another_person_is_not_revoked_along(kit):
    revoke_now(kit.home, revocation(kind="identity", what="anna", reason="gone", at=kit.now))
    assert kit.verify(kit.good())


def test_revoking_somebody_unknown_says_so(kit, capsys):
    home = ["--home", str(kit.home), "revoke", "--reason", "gone", "--identity"]
    assert run([*home, "nobody"]) == 0
    assert "nobody in the installed trust" in " ".join(capsys.readouterr().err.split())
    assert run([*home, "ANN"]) == 0
    assert "nobody in the installed trust" not in " ".join(capsys.readouterr().err.split())


def test_a_lifting_by_a_clock_ahead_does_not_stop_the_next_emergency(kit):
    ahead = revocation(
        kind="identity", what="Ann", reason="found", at=kit.now + timedelta(days=365)
    )

    def lift(old):
        lists = lifted(read_revocations(old["revocations.json"]), ahead)
        return {**old, "revocations.json": write_revocations(lists)}

    kit.change(lift)
    kit.install()
    trust = revoke_now(kit.home, revocation(kind="identity", what="ann", reason="x", at=kit.now))
    assert trust.revoked("identity", "ann") is not None
    with pytest.raises(VerificationRefused, match="identity revoked since"):
        kit.verify(kit.good())


def test_trust_installs_from_a_path_with_a_line_break(kit, tmp_path):
    odd = tmp_path / "a\nb \N{RIGHT-TO-LEFT OVERRIDE}"
    kit.set.directory.rename(odd)
    assert kit.install(odd).version


def test_chunk_digests_that_admission_did_not_compare_are_never_relied_on(world, monkeypatch):
    # Under fips nobody hashes with BLAKE3, so a vetter could have signed chunk digests of other bytes.
    admitted = world.admit(world.bundle(), policy=FIPS)
    assert any(file.chunks for file in admitted.document.files)

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(content, "_chunk_digest", never)
    again = open_admitted(world.home, "tiny", now=NOW, policy=POLICY)
    for held in (admitted, again):  # what a worker is told to check
        assert not any(file.chunks for file in Model.of(held).files)


def test_chunk_digests_that_were_compared_are_relied_on(world):
    for held in (
        world.admit(world.bundle()),
        open_admitted(world.home, "tiny", now=NOW, policy=POLICY),
    ):
        assert [f.path for f in Model.of(held).files if not f.chunks] == ["empty.txt"]


class Meanwhile(OpenGate):
    """A gate during whose work somebody writes to the medium."""

    def judge(self, candidate, stage):
        (candidate.root / "config.json").write_bytes(b'{"model_type": "other"}\n')
        return super().judge(candidate, stage)


def test_a_medium_that_changes_while_it_is_judged_is_refused_and_not_approved(world):
    bundle = world.sealed()
    terms = Terms(policy=POLICY, reason="looked at it", now=NOW)
    with pytest.raises(VerificationRefused, match="changed while it was judged"):
        vet_for_approval(bundle, terms, Meanwhile(), on_verdict=lambda _: None)


def test_a_signature_is_not_put_where_a_link_on_the_medium_leads(world, tmp_path):
    bundle = world.sealed()
    (bundle / "signatures").rename(tmp_path / "private")
    (bundle / "signatures").symlink_to(tmp_path / "private")
    with pytest.raises(UnreadableInput):
        attach(bundle, b"{}")
    assert [p.name for p in (tmp_path / "private").iterdir()] == ["vetter.sig"]


def test_what_lies_beside_the_signatures_does_not_stop_one_being_put_there(world):
    bundle = world.sealed()
    os.mkfifo(bundle / "signatures/approver.sig")
    with (bundle / "signatures/endless").open("wb") as file:
        file.truncate(2**40)
    made = attach(bundle, b"{}")
    assert made.read_bytes() == b"{}"
    assert attach(bundle, b"{}") == made


def test_undoing_an_admission_is_on_the_record(world, capsys):
    world.admit(world.bundle())
    home = ["--home", str(world.home)]
    assert run([*home, "gc", "--forget", "tiny"]) == 0
    assert run([*home, "log", "show", "--last", "1"]) == 0
    said = capsys.readouterr().out
    assert "what=admission" in said
    assert "gc --forget" in said


def test_a_name_no_file_system_takes_is_refused_in_two_lines(tmp_path, capsys):
    assert run(["--home", str(tmp_path / "h"), "show", "x" * 5000]) == 7
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["refused", "hint"]
    assert len(lines[0]) < 600


def test_losing_the_record_of_what_a_name_points_at_does_not_open_the_way_back(world):
    old, new = world.bundle("one"), world.bundle("two", {"config.json": b"{}"})
    held = world.admit(new, Naming(alias="m"))
    (world.home / "store" / "admissions" / f"{held.bundle_id}.json").unlink()
    with pytest.raises(VerificationRefused, match="has lost its record"):
        world.admit(old, Naming(alias="m"))
    world.admit(new, Naming(alias="m"))  # heals
    assert world.admit(old, Naming(alias="m2"))


def test_a_tampered_log_does_not_keep_a_model_from_being_stopped(world, capsys):
    admitted = world.admit(world.bundle())
    home = ["--home", str(world.home)]
    assert run([*home, "revoke", "0" * 64, "--reason", "begins the log"]) == 0
    segment = next((world.home / "ledger" / "segments").glob("*.jsonl"))
    segment.write_bytes(b"")
    assert run([*home, "revoke", admitted.bundle_id, "--reason", "poisoned"]) == 15
    assert "all the same" in capsys.readouterr().err
    with pytest.raises(VerificationRefused, match="poisoned"):
        open_admitted(world.home, "tiny", now=NOW, policy=POLICY)


def test_the_unsigned_version_of_a_timestamp_token_cannot_change(kit):
    made = Timestamper(kit.now - timedelta(days=1), kit.now + timedelta(days=1))
    token = made.stamp(b"signature", kit.now)
    chain = (tuple(der(certificate) for certificate in made.chain),)
    assert timestamp.verify((token,), b"signature", chain) == kit.now
    at = token.index(b"\x02\x01\x03") + 2  # SignedData's version, which nothing signs
    for version in (0, 1, 2, 4, 5, 255):
        altered = token[:at] + bytes([version]) + token[at + 1 :]
        with pytest.raises(VerificationRefused, match=r"version|cannot be read"):
            timestamp.verify((altered,), b"signature", chain)
