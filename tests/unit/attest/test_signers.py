"""Whatever a person signs with: files, tokens (SoftHSM), certificates, timestamps."""

import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pratique.attest.hsm import KeyUri, load_hsm_signer, parse_uri
from pratique.attest.keys import generate_key, load_signer, parse_public_key, verify_raw
from pratique.attest.sign import sign_payload
from pratique.attest.signers import SigningOptions, open_signer
from pratique.attest.values import Role
from pratique.errors import SealError, UsageError, VerificationRefused
from tests.support.localsigstore import (
    CA,
    LocalSigstore,
    SigstoreServer,
    Timestamper,
    identity_token,
)
from tests.support.trustkit import FILES, Kit, Person, RoleRule, disk_without_waiting

__all__ = ["disk_without_waiting"]  # a fixture, used by being here
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def server():
    with SigstoreServer(LocalSigstore()) as running:
        yield running


def test_key_with_a_timestamp(server, tmp_path):
    """A key that is revoked later: what was timestamped before still stands."""
    kit = Kit(tmp_path)
    kit.init(files={"tsa/tsa.pem": server.sigstore.tsa.pem}).install()
    kit.signer("ann")
    signer = open_signer(
        SigningOptions(key=str(tmp_path / "ann.key"), timestamp_url=server.url + "/timestamp")
    )
    good = kit.good() | {"vetter.sig": sign_payload(FILES, signer)}
    later = kit.now + timedelta(minutes=3)
    proof = kit.verify(good, now=later)
    assert proof.signers[0].signed_at is not None
    kit.revoke("key", kit.signer("ann").key_id, at=kit.now + DAY)
    kit.install()
    kit.verify(good, now=later)
    with pytest.raises(VerificationRefused, match="key revoked"):
        kit.verify(kit.good(), now=later)


def test_timestamped_key_of_a_strange_authority(server, tmp_path):
    kit = Kit(tmp_path)
    stranger = Timestamper(kit.now - DAY, kit.now + DAY)
    kit.init(files={"tsa/tsa.pem": stranger.pem}).install()
    kit.signer("ann")
    signer = open_signer(
        SigningOptions(key=str(tmp_path / "ann.key"), timestamp_url=server.url + "/timestamp")
    )
    with pytest.raises(VerificationRefused, match="not by an authority of the trust root"):
        kit.verify(kit.good() | {"vetter.sig": sign_payload(FILES, signer)})


def test_options(server, tmp_path):
    generate_key(tmp_path / "ann")
    key = str(tmp_path / "ann.key")
    plain = load_signer(Path(key))
    assert open_signer(SigningOptions(key=key)).key_id == plain.key_id
    assert (
        open_signer(SigningOptions(key=key, timestamp_url="http://127.0.0.1:1")).key_id
        == plain.key_id
    )
    with pytest.raises(SealError, match="no key was given"):
        open_signer(SigningOptions())
    token = tmp_path / "token"
    token.write_text(identity_token("ann@ships.test", "https://idp.ships.test") + "\n")
    config = tmp_path / "config"
    import json

    config.write_text(json.dumps(server.sigstore.trust_config(server.url, rekor=2)))
    signer = open_signer(SigningOptions(identity_token=token, sigstore_config=config))
    assert signer.identity.subject == "ann@ships.test"
    with pytest.raises(UsageError, match="signs alone"):
        open_signer(SigningOptions(key=key, identity_token=token))
    with pytest.raises(SealError, match="cannot read the identity token"):
        open_signer(SigningOptions(identity_token=tmp_path / "absent"))


def test_certificate_option(tmp_path):
    kit = Kit(tmp_path)
    start, end = kit.now - DAY, kit.now + DAY
    ca = CA("root", start, end)
    ann = kit.signer("ann")
    _, leaf = ca.leaf("ann@ships.test", start=start, end=end, key=ann.private_key)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(leaf.public_bytes(Encoding.PEM))
    signer = open_signer(SigningOptions(key=str(tmp_path / "ann.key"), certificates=chain))
    assert (signer.key_id, signer.public_pem) == (ann.key_id, ann.public_pem)
    people = (
        Person(name="ann", certificates=("ann@ships.test",)),
        Person(name="bea", keys=(kit.pem("bea"),)),
    )
    roles = {
        Role.VETTER: RoleRule(holders=("ann",), threshold=1),
        Role.APPROVER: RoleRule(holders=("bea",), threshold=1),
    }
    files = {
        "ca/root.pem": ca.certificate.public_bytes(Encoding.PEM),
        "crl/root.crl": ca.crl(at=kit.now),
    }
    kit.init(kit.trust_file(people=people, roles=roles), files).install()
    kit.verify({"vetter.sig": sign_payload(FILES, signer), "approver.sig": kit.approve()})


# --- PKCS#11

MODULES = (
    os.environ.get("SOFTHSM2_MODULE", ""),
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
)


def test_uris():
    uri = parse_uri("pkcs11:token=My%20Token;object=ann;type=private?module-path=/lib/m.so")
    assert uri == KeyUri("/lib/m.so", "My Token", "ann", None)
    uri = parse_uri("pkcs11:id=%01%02;token=t?module-path=/lib/m.so")
    assert uri == KeyUri("/lib/m.so", "t", None, b"\x01\x02")


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:",
        "pkcs11:token=t;object=o",
        "pkcs11:object=o?module-path=/m.so",
        "pkcs11:token=t?module-path=/m.so",
        "pkcs11:token=t;object=o?module-path=m.so",
        "pkcs11:token=t;object=o;slot-id=1?module-path=/m.so",
    ],
)
def test_uris_that_find_no_key(uri):
    with pytest.raises(UsageError):
        parse_uri(uri)


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    """A SoftHSM token with a P-256 and a P-384 key pair; its URI prefix and suffix."""
    pytest.importorskip("pkcs11", reason="the extra `hsm` is not installed")
    module = next((m for m in MODULES if m and Path(m).is_file()), None)
    tool = os.environ.get("SOFTHSM2_UTIL") or shutil.which("softhsm2-util")
    if module is None or tool is None:
        pytest.skip("SoftHSM is not installed (apt-get install softhsm2)")
    root = tmp_path_factory.mktemp("hsm")
    (root / "tokens").mkdir()
    (root / "conf").write_text(f"directories.tokendir = {root / 'tokens'}\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(root / "conf")
    subprocess.run(
        [
            *(tool, "--module", module, "--init-token", "--free", "--label", "ships"),
            *("--pin", "1234", "--so-pin", "5678"),
        ],
        check=True,
        capture_output=True,
    )
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    with (
        pkcs11.lib(module).get_token(token_label="ships").open(user_pin="1234", rw=True) as session
    ):
        for number, (label, curve) in enumerate((("ann", "secp256r1"), ("bea", "secp384r1"))):
            session.create_domain_parameters(
                pkcs11.KeyType.EC,
                {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)},
                local=True,
            ).generate_keypair(store=True, label=label, id=bytes([number + 1]))
    yield lambda part: f"pkcs11:token=ships;{part}?module-path={module}"
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.mark.parametrize("part", ["object=ann", "id=%01", "object=bea", "object=ann;id=%01"])
def test_keys_in_a_token(token, part):
    signer = load_hsm_signer(token(part), lambda: b"1234")
    assert verify_raw(parse_public_key(signer.public_pem), signer.sign(b"x"), b"x")
    assert signer.identity.subject == signer.key_id


def test_a_bundle_signed_in_a_token(token, tmp_path):
    kit = Kit(tmp_path)
    kit.signers["ann"] = open_signer(SigningOptions(key=token("object=ann")), lambda: b"1234")
    kit.init().install()
    assert kit.verify(kit.good()).signers[0].person == "ann"


@pytest.mark.parametrize(
    ("part", "pin", "reason"),
    [
        ("object=ann", b"0000", "PIN is wrong"),
        ("object=nobody", b"1234", "cannot be used: NoSuchKey"),
    ],
)
def test_tokens_that_do_not_sign(token, part, pin, reason):
    with pytest.raises(SealError, match=reason) as caught:
        load_hsm_signer(token(part), lambda: pin)
    assert caught.value.exit_code == 6


def test_no_such_token_module_or_pin(token):
    for uri, prompt, reason in (
        (token("object=ann").replace("token=ships", "token=none"), lambda: b"1234", "NoSuchToken"),
        ("pkcs11:token=t;object=o?module-path=/absent.so", lambda: b"1", "cannot be used"),
        (token("object=ann"), None, "PIN was not given"),
    ):
        with pytest.raises(SealError, match=reason):
            load_hsm_signer(uri, prompt)
