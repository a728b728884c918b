"""What happens on the connected side alone: Sigstore signing and timestamps, over loopback."""

import json
from datetime import timedelta

import pytest

from pratique.attest import timestamp
from pratique.attest.keyless_sign import KeylessSigner, load_trust_config
from pratique.attest.sign import sign_approval, sign_payload
from pratique.attest.timestamp import HttpTimestampAuthority
from pratique.attest.values import Identity, Method, Role
from pratique.errors import SealError, VerificationRefused
from tests.support.localsigstore import LocalSigstore, SigstoreServer, der, identity_token
from tests.support.trustkit import (
    FILES,
    Kit,
    Person,
    RoleRule,
    SigstoreAccount,
    disk_without_waiting,
)

__all__ = ["disk_without_waiting"]  # a fixture, used by being here
IDP = "https://idp.ships.test"


@pytest.fixture(scope="module")
def server():
    with SigstoreServer(LocalSigstore()) as running:
        yield running


def signer(server, tmp_path, identity="ann@ships.test", **options):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(server.sigstore.trust_config(server.url, rekor=2)))
    return KeylessSigner(identity_token(identity, IDP, **options), load_trust_config(file))


def enclave(tmp_path, sigstore):
    kit = Kit(tmp_path)
    people = tuple(
        Person(name=n, sigstore=(SigstoreAccount(subject=f"{n}@ships.test", issuer=IDP),))
        for n in ("ann", "bea")
    )
    roles = {
        Role.VETTER: RoleRule(holders=("ann",), threshold=1),
        Role.APPROVER: RoleRule(holders=("bea",), threshold=1),
    }
    root = json.dumps(sigstore.trusted_root()).encode()
    kit.init(kit.trust_file(people=people, roles=roles), {"trusted_root.json": root}).install()
    return kit


def test_vetter_and_approver_sign_keyless_and_the_enclave_verifies_offline(server, tmp_path):
    kit = enclave(tmp_path, server.sigstore)
    ann, bea = signer(server, tmp_path), signer(server, tmp_path, "bea@ships.test")
    assert ann.identity == Identity(Method.SIGSTORE, "ann@ships.test", IDP)
    signatures = {
        "vetter.sig": sign_payload(FILES, ann),
        "approver.sig": sign_approval(kit.approval(), bea),
    }
    proof = kit.verify(signatures)
    assert [s.person for s in proof.signers] == ["ann", "bea"]
    assert all(s.signed_at is not None for s in proof.signers)


def test_one_person_behind_both_tokens(server, tmp_path):
    kit = enclave(tmp_path, server.sigstore)
    ann = signer(server, tmp_path)
    signatures = {
        "vetter.sig": sign_payload(FILES, ann),
        "approver.sig": sign_approval(kit.approval(), ann),
    }
    with pytest.raises(VerificationRefused, match="ann does not hold the role approver"):
        kit.verify(signatures)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x.y.z",
        identity_token("ann", IDP, lifetime=-60),
        identity_token("ann", IDP, audience="other"),
    ],
)
def test_tokens_that_cannot_be_used(server, tmp_path, token):
    with pytest.raises(SealError, match="identity token cannot be used"):
        KeylessSigner(token, signer(server, tmp_path)._config)


@pytest.mark.parametrize("broken", ["/signingCert", "/log/entries", "/timestamp"])
def test_services_that_fail(tmp_path, broken):
    with (
        SigstoreServer(LocalSigstore(), broken) as server,
        pytest.raises(SealError, match="Sigstore did not sign") as caught,
    ):
        sign_payload(FILES, signer(server, tmp_path))
    assert caught.value.exit_code == 6


def test_trust_configurations_that_cannot_be_used(tmp_path):
    for content in ("", "{}", "[]"):
        (tmp_path / "config").write_text(content)
        with pytest.raises(SealError, match="trust configuration cannot be used"):
            load_trust_config(tmp_path / "config")
    with pytest.raises(SealError):
        load_trust_config(tmp_path / "absent")


# --- timestamps


def test_a_timestamp_over_http(server):
    authority = HttpTimestampAuthority(server.url + "/timestamp")
    token = authority.stamp(b"signature")
    chain = (tuple(der(c) for c in server.sigstore.tsa.chain),)
    when = timestamp.verify((token,), b"signature", chain)
    assert abs(when - server.sigstore.now) < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"", "did not answer with a timestamp"), (b"<html>", "did not answer with a timestamp")],
)
def test_answers_that_are_no_timestamp(answer, reason):
    authority = HttpTimestampAuthority("http://127.0.0.1", lambda url, body: answer)
    with pytest.raises(SealError, match=reason):
        authority.stamp(b"signature")


def test_a_timestamp_of_something_else(server):
    other = server.sigstore.tsa.stamp(b"other", server.sigstore.now, 7)
    authority = HttpTimestampAuthority("http://127.0.0.1", lambda url, body: other)
    with pytest.raises(SealError, match="timestamp of something else"):
        authority.stamp(b"signature")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1", "127.0.0.1"])
def test_addresses_of_other_kinds(url):
    with pytest.raises(SealError, match="not an address of a timestamp authority"):
        HttpTimestampAuthority(url).stamp(b"signature")


def test_nobody_at_home():
    with pytest.raises(SealError, match="no timestamp from"):
        HttpTimestampAuthority("http://127.0.0.1:1").stamp(b"signature")
