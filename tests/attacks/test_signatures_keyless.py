"""Sigstore keyless, against a local Sigstore, in both forms of log entry: every tampering refused."""

import base64
import copy
import hashlib
import json
from datetime import timedelta

import pytest
import rfc8785

from pratique.attest.statement import write_model
from pratique.attest.values import Method, Role
from pratique.errors import VerificationRefused
from tests.support.localsigstore import LocalSigstore, Timestamper, b64, der, dumps, new_key, sign
from tests.support.trustkit import (
    FILES,
    Kit,
    Person,
    RoleRule,
    SigstoreAccount,
    disk_without_waiting,
)

ANN = "ann@ships.test"
IDP = "https://idp.ships.test"
__all__ = ["disk_without_waiting"]  # a fixture, used by being here
DAY = timedelta(days=1)
PAYLOAD = write_model(FILES, "payload")


class World:
    def __init__(self, root):
        self.kit = Kit(root)
        self.now = self.kit.now
        self.sigstore = LocalSigstore(self.now)
        people = (
            Person(name="ann", sigstore=(SigstoreAccount(subject=ANN, issuer=IDP),)),
            Person(name="bea", keys=(self.kit.pem("bea"),)),
        )
        roles = {
            Role.VETTER: RoleRule(holders=("ann",), threshold=1),
            Role.APPROVER: RoleRule(holders=("bea",), threshold=1),
        }
        self.kit.init(self.kit.trust_file(people=people, roles=roles))
        self.approval = self.kit.approve()
        self.carry(self.sigstore.trusted_root())

    def carry(self, root):
        def edit(old):
            files = {n: d for n, d in old.items() if n != "trusted_root.json"}
            return (
                files if root is None else files | {"trusted_root.json": json.dumps(root).encode()}
            )

        self.kit.change(edit)
        self.kit.install()

    def sign(self, identity=ANN, issuer=IDP, **options):
        return self.sigstore.sign(PAYLOAD, identity, issuer, **options)

    def verify(self, bundle, **options):
        data = bundle if isinstance(bundle, bytes) else dumps(bundle)
        return self.kit.verify({"vetter.sig": data, "approver.sig": self.approval}, **options)

    def refused(self, reason, bundle, **options):
        with pytest.raises(VerificationRefused, match=reason):
            self.verify(bundle, **options)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("keyless"))


@pytest.fixture
def own(tmp_path):
    return World(tmp_path)


@pytest.fixture(params=[1, 2])
def rekor(request):
    return request.param


def material(bundle):
    return bundle["verificationMaterial"]


def entry(bundle):
    return material(bundle)["tlogEntries"][0]


def proof(bundle):
    return entry(bundle)["inclusionProof"]


def flip(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[-1] ^= 1
    return b64(bytes(raw))


def test_accepted(world, rekor):
    verified = world.verify(world.sign(rekor=rekor))
    signer = verified.signers[0]
    assert (signer.person, signer.identity.method) == ("ann", Method.SIGSTORE)
    assert signer.signed_at == world.now + timedelta(seconds=1)


def test_accepted_years_later(world, rekor):
    """The certificate lived for ten minutes; log and timestamp say that it signed within them."""
    world.verify(world.sign(rekor=rekor), now=world.now + 60 * DAY)


# --- the bundle, altered

ALTERED = {
    "payload": (lambda b: b["dsseEnvelope"].update(payload=b64(b"{}")), "DSSE: invalid signature"),
    "payload type": (
        lambda b: b["dsseEnvelope"].update(payloadType="text/plain"),
        "DSSE: invalid signature",
    ),
    "signature": (
        lambda b: b["dsseEnvelope"]["signatures"][0].update(
            sig=flip(b["dsseEnvelope"]["signatures"][0]["sig"])
        ),
        "DSSE: invalid signature|not enough sources of verified time",
    ),
    "certificate is no certificate": (
        lambda b: material(b)["certificate"].update(rawBytes="MAA="),
        "cannot be read",
    ),
    "certificate signature": (
        lambda b: material(b)["certificate"].update(
            rawBytes=flip(material(b)["certificate"]["rawBytes"])
        ),
        "signature does not match",
    ),
    "two log entries": (
        lambda b: material(b)["tlogEntries"].append(entry(b)),
        "exactly one log entry",
    ),
    "no log entry": (lambda b: material(b)["tlogEntries"].clear(), "exactly one log entry"),
    "no log entries at all": (lambda b: material(b).pop("tlogEntries"), "failed to load bundle"),
    "no inclusion proof": (lambda b: entry(b).pop("inclusionProof"), "failed to load bundle"),
    "no checkpoint": (lambda b: proof(b).pop("checkpoint"), "inclusion proof, with checkpoint"),
    "checkpoint's text": (
        lambda b: proof(b)["checkpoint"].update(
            envelope=proof(b)["checkpoint"]["envelope"].replace("log.pratique", "log.practice", 1)
        ),
        "invalid log entry",
    ),
    "checkpoint's signer": (
        lambda b: proof(b)["checkpoint"].update(
            envelope=proof(b)["checkpoint"]["envelope"].replace("\u2014 log.", "\u2014 lug.", 1)
        ),
        "not signed by its origin",
    ),
    "checkpoint unsigned": (
        lambda b: proof(b)["checkpoint"].update(
            envelope=proof(b)["checkpoint"]["envelope"].split("\u2014")[0]
        ),
        "must contain at least one signature",
    ),
    "root hash": (
        lambda b: proof(b).update(rootHash=flip(proof(b)["rootHash"])),
        "invalid log entry",
    ),
    "path": (
        lambda b: proof(b).update(hashes=[flip(proof(b)["hashes"][0]), *proof(b)["hashes"][1:]]),
        "invalid log entry",
    ),
    "path cut": (lambda b: proof(b)["hashes"].pop(), "invalid log entry"),
    "path longer": (
        lambda b: proof(b)["hashes"].append(proof(b)["hashes"][0]),
        "invalid log entry",
    ),
    "proof index": (lambda b: proof(b).update(logIndex="1"), "invalid log entry"),
    "proof index beyond": (
        lambda b: proof(b).update(logIndex="99"),
        "failed to load bundle|wrong size",
    ),
    "negative index": (lambda b: proof(b).update(logIndex="-1"), "failed to load bundle"),
    "index of the entry": (
        lambda b: entry(b).update(logIndex="77"),
        "invalid log entry|not that of its proof",
    ),
    "log id": (
        lambda b: entry(b)["logId"].update(keyId=flip(entry(b)["logId"]["keyId"])),
        "invalid log entry|unknown log",
    ),
    "kind": (
        lambda b: entry(b)["kindVersion"].update(kind="intoto"),
        "log entry type|only supported for",
    ),
    "kind of artifacts": (
        lambda b: entry(b)["kindVersion"].update(kind="hashedrekord", version="0.0.1"),
        "Unsupported DSSE log entry type",
    ),
    "version of the entry": (
        lambda b: entry(b)["kindVersion"].update(version="9.9.9"),
        "Expected log entry version",
    ),
    "body": (lambda b: entry(b).update(canonicalizedBody=b64(b"{}")), "invalid log entry"),
    "message signature": (
        lambda b: b.update(messageSignature=b.pop("dsseEnvelope")),
        "lacks 'dsseEnvelope'",
    ),
    "unknown field": (lambda b: material(b).update(more=1), "failed to load bundle"),
    "second method": (
        lambda b: material(b).update(publicKey={"hint": "x"}),
        "no signing method, or more than one",
    ),
    "null field": (lambda b: material(b).update(publicKey=None), "or more than one|fields nobody"),
}


@pytest.mark.parametrize("attack", ALTERED)
def test_altered(world, rekor, attack):
    change, reason = ALTERED[attack]
    bundle = world.sign(rekor=rekor)
    change(bundle)
    world.refused(reason, bundle)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda b: entry(b)["inclusionPromise"].update(
                signedEntryTimestamp=flip(entry(b)["inclusionPromise"]["signedEntryTimestamp"])
            ),
            "invalid log entry",
        ),
        (lambda b: entry(b).pop("inclusionPromise"), "inclusion promise or signed timestamp"),
        (
            lambda b: entry(b).update(integratedTime=str(int(entry(b)["integratedTime"]) + 60)),
            "invalid log entry",
        ),
        (lambda b: entry(b).pop("integratedTime"), "not enough sources of verified time"),
    ],
)
def test_altered_promise(world, change, reason):
    bundle = world.sign(rekor=1)
    change(bundle)
    world.refused(reason, bundle)


def stamps(bundle):
    return material(bundle)["timestampVerificationData"]["rfc3161Timestamps"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: stamps(b).clear(), "inclusion promise or signed timestamp"),
        (lambda b: material(b).pop("timestampVerificationData"), "inclusion promise or signed"),
        (lambda b: stamps(b)[0].update(signedTimestamp="eA=="), "Invalid Timestamp Response"),
        (lambda b: stamps(b).append(dict(stamps(b)[0])), "duplicate timestamp"),
    ],
)
def test_altered_timestamp(world, change, reason):
    bundle = world.sign(rekor=2)
    change(bundle)
    world.refused(reason, bundle)


def test_a_strangers_timestamp_beside_a_good_one(world):
    """sigstore-python skips a timestamp that it cannot verify; here it is refused."""
    bundle = world.sign(rekor=2)
    stranger = Timestamper(world.sigstore.start, world.sigstore.end)
    signature = base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"])
    stamps(bundle).append({"signedTimestamp": b64(stranger.stamp(signature, world.now - DAY))})
    world.refused("not by an authority", bundle)


def test_only_a_strangers_timestamp(world):
    bundle = world.sign(rekor=2)
    stranger = Timestamper(world.sigstore.start, world.sigstore.end)
    signature = base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"])
    stamps(bundle)[0] = {"signedTimestamp": b64(stranger.stamp(signature, world.now))}
    world.refused("not enough sources of verified time", bundle)


# --- parts of two good bundles, mixed


@pytest.mark.parametrize("part", ["certificate", "tlogEntries", "signature"])
def test_mixed(world, rekor, part):
    first, second = world.sign(rekor=rekor), world.sign(rekor=rekor)
    if part == "signature":
        first["dsseEnvelope"]["signatures"] = second["dsseEnvelope"]["signatures"]
    else:
        material(first)[part] = material(second)[part]
    world.refused(
        "DSSE: invalid|do not match bundle|inconsistent with other|not enough sources", first
    )


def test_log_entry_of_another_payload(world, rekor):
    bundle = world.sign(rekor=rekor)
    other = world.sigstore.sign(b'{"x":1}', ANN, IDP, rekor=rekor)
    material(bundle)["tlogEntries"] = material(other)["tlogEntries"]
    world.refused("payload hash does not match|inconsistent with other materials", bundle)


# --- signed validly, by or through somebody else


@pytest.mark.parametrize(
    ("identity", "issuer"),
    [
        ("mallory@ships.test", IDP),
        (ANN, "https://evil.test"),
        ("https://ships.test/ann", IDP),
        ("ANN@ships.test", IDP),
        (ANN + ".evil.test", IDP),
    ],
)
def test_other_identities(world, rekor, identity, issuer):
    world.refused("whom the trust root does not name", world.sign(identity, issuer, rekor=rekor))


def test_another_sigstore(world, rekor):
    stranger = LocalSigstore(world.now)
    world.refused(
        "signature does not match|not enough sources of verified time",
        stranger.sign(PAYLOAD, ANN, IDP, rekor=rekor),
    )


@pytest.mark.parametrize("part", ["tlogs", "certificateAuthorities", "ctlogs"])
def test_one_authority_replaced(own, rekor, part):
    """Right in everything but one authority."""
    bundle = own.sign(rekor=rekor)
    root = own.sigstore.trusted_root()
    root[part] = LocalSigstore(own.now).trusted_root()[part]
    own.carry(root)
    own.refused("invalid signature|signature does not match", bundle)


def test_signed_after_the_certificate_ended(world, rekor):
    late = world.now - DAY + timedelta(minutes=20)
    bundle = world.sign(rekor=rekor, at=world.now - DAY, logged_at=late)
    world.refused("cert is not valid at validation time", bundle)


def test_another_payload_type_signed_validly(world, rekor):
    world.refused("payload type is", world.sign(rekor=rekor, kind="application/json"))


def test_certificate_without_sct(world, rekor):
    """A certificate that no certificate transparency log has seen."""
    _key, leaf = world.sigstore.ca.leaf(
        ANN, start=world.now - timedelta(minutes=1), end=world.now + timedelta(minutes=10)
    )
    bundle = world.sign(rekor=rekor)
    material(bundle)["certificate"]["rawBytes"] = b64(der(leaf))
    world.refused("names no issuer", bundle)


# --- the trust root


def test_no_trusted_root(own, rekor):
    own.carry(None)
    own.refused("carries no trusted_root.json", own.sign(rekor=rekor))


@pytest.mark.parametrize("part", ["tlogs", "certificateAuthorities", "ctlogs"])
def test_empty_trusted_root(own, part):
    root = own.sigstore.trusted_root()
    root[part] = []
    own.carry(root)
    own.refused(
        "contains no transparency log|Fulcio certificates not found|CTFE keys not found", own.sign()
    )


def test_trusted_root_that_is_none(own):
    own.carry({"mediaType": "x"})
    own.refused("cannot be read", own.sign())


def ended(root, part, when):
    root = copy.deepcopy(root)
    for authority in root[part]:
        holder = authority.get("publicKey", authority)
        holder["validFor"]["end"] = when.strftime("%Y-%m-%dT%H:%M:%SZ")
    return root


@pytest.mark.parametrize(
    "part", ["tlogs", "certificateAuthorities", "ctlogs", "timestampAuthorities"]
)
def test_authority_that_had_ended(own, part):
    """CA and logs past `validFor.end`: sigstore-python 4.5 alone accepts them."""
    bundle = own.sign(rekor=2)
    own.carry(ended(own.sigstore.trusted_root(), part, own.now - DAY))
    own.refused("authority that was not valid on|not enough sources of verified time", bundle)
    own.carry(ended(own.sigstore.trusted_root(), part, own.now + DAY))
    own.verify(bundle)


@pytest.mark.parametrize("part", ["tlogs", "certificateAuthorities", "ctlogs"])
def test_authority_that_had_not_begun(own, part, rekor):
    bundle = own.sign(rekor=rekor)
    root = own.sigstore.trusted_root()
    for authority in root[part]:
        holder = authority.get("publicKey", authority)
        holder["validFor"]["start"] = (own.now + DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    own.carry(root)
    own.refused(
        "Did not find any Rekor keys|Fulcio certificates not found|CTFE keys not found", bundle
    )


def test_timestamp_in_the_future(world, rekor):
    """Vouched for, but later than this host's clock: the clock is behind, expiry cannot be judged."""
    bundle = world.sign(rekor=rekor, at=world.now + 10 * DAY)
    world.refused("after the time of this host", bundle)


def test_revoked_identity_spares_earlier_signatures(own, rekor):
    bundle = own.sign(rekor=rekor, at=own.now - 3 * DAY)
    own.kit.revoke("identity", ANN, at=own.now - 2 * DAY)
    own.kit.install()
    own.verify(bundle)
    own.refused("identity revoked", own.sign(rekor=rekor))


# --- spelling


@pytest.mark.parametrize(
    "respell",
    [
        lambda d: d + b"\n",
        lambda d: d.replace(b"\xe2\x80\x94", b"\\u2014"),
        lambda d: d.replace(b'":', b'": ', 1),
    ],
)
def test_respelled(world, respell):
    world.refused("not in canonical form", respell(dumps(world.sign())))


def test_every_seventh_byte_counts(world, rekor):
    data = dumps(world.sign(rekor=rekor))
    for at in range(rekor, len(data), 29):
        altered = bytearray(data)
        altered[at] ^= 1
        with pytest.raises(VerificationRefused):
            world.verify(bytes(altered))


def test_forged_log_entry_body(world):
    """A body that names another signature, logged and proved validly (CVE-2022-36056)."""
    bundle = world.sign(rekor=2)
    body = json.loads(base64.b64decode(entry(bundle)["canonicalizedBody"]))
    spec = body["spec"]["hashedRekordV002"]
    spec["signature"]["content"] = b64(sign(new_key(), b"x"))
    material(bundle)["tlogEntries"] = [
        world.sigstore.log.add(rfc8785.dumps(body), "hashedrekord", "0.0.2", None)
    ]
    world.refused("inconsistent with other materials", bundle)


def test_forged_dsse_body(world):
    """The same for version 1, whose entry names payload and signature."""
    bundle = world.sign(rekor=1)
    body = json.loads(base64.b64decode(entry(bundle)["canonicalizedBody"]))
    body["spec"]["payloadHash"]["value"] = hashlib.sha256(b"x").hexdigest()
    material(bundle)["tlogEntries"] = [
        world.sigstore.log.add(rfc8785.dumps(body), "dsse", "0.0.1", int(world.now.timestamp()) + 1)
    ]
    world.refused("payload hash does not match", bundle)


def test_pem_certificate_in_the_body_of_another(world):
    bundle = world.sign(rekor=1)
    other = world.sign(rekor=1)
    body = json.loads(base64.b64decode(entry(bundle)["canonicalizedBody"]))
    stolen = json.loads(base64.b64decode(entry(other)["canonicalizedBody"]))
    body["spec"]["signatures"] = stolen["spec"]["signatures"]
    material(bundle)["tlogEntries"] = [
        world.sigstore.log.add(rfc8785.dumps(body), "dsse", "0.0.1", int(world.now.timestamp()) + 1)
    ]
    world.refused("signatures do not match bundle", bundle)
