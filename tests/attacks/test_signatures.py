"""Tampered signatures by key, each refused for its own reason (the text is asserted).

What is altered without the key must fail at the container or the signature; what is signed validly
must fail at the step that judges it.
"""

import base64
import hashlib
import json
from datetime import UTC, datetime, time, timedelta

import pytest

from pratique.attest.envelope import IN_TOTO, MEDIA_TYPE, pre_authentication
from pratique.attest.sign import sign_payload
from pratique.attest.statement import write_model
from pratique.attest.values import Role, Scope
from pratique.core.ids import Digest, RelPath
from pratique.core.policy import Allowance, TrustRules
from pratique.errors import VerificationRefused
from tests.support.trustkit import (
    ENCLAVE,
    FILES,
    Kit,
    Person,
    RoleRule,
    SigningRules,
    digest,
    disk_without_waiting,
)

__all__ = ["disk_without_waiting"]  # a fixture, used by being here
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    kit = Kit(tmp_path_factory.mktemp("kit")).init()
    kit.install()
    return kit


@pytest.fixture
def own(tmp_path):
    """A kit that one test may change."""
    return Kit(tmp_path)


def refused(kit, reason, signatures, **options):
    with pytest.raises(VerificationRefused, match=reason):
        kit.verify(signatures, **options)


def compact(value) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def edited(data: bytes, change) -> bytes:
    """Take a signature file apart, change it, write it in the same layout."""
    value = json.loads(data)
    result = change(value)
    return compact(value if result is None else result)


def craft(kit, name, payload: bytes, kind: str = IN_TOTO) -> bytes:
    """Sign any payload with somebody's real key."""
    signer = kit.signer(name)
    signature = signer.sign(pre_authentication(kind, payload))
    return compact(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": signer.key_id}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": kind,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
    )


def statement(change=lambda s: None) -> bytes:
    value = json.loads(write_model(FILES, "payload"))
    change(value)
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def with_resources(resources, *, fix_root=True) -> bytes:
    def change(value):
        value["predicate"]["resources"] = resources
        if fix_root:
            raw = b"".join(bytes.fromhex(r["digest"]) for r in resources)
            value["subject"][0]["digest"]["sha256"] = hashlib.sha256(raw).hexdigest()

    return statement(change)


def resource(name, sha="22" * 32, algorithm="sha256"):
    return {"algorithm": algorithm, "digest": sha, "name": name}


def test_the_untouched_pair_is_accepted(kit):
    proof = kit.verify(kit.good())
    assert proof.bundle_id == FILES[0][1]
    assert dict(proof.files) == dict(FILES)
    assert [s.person for s in proof.signers] == ["ann", "bea"]
    assert [s.name for s in proof.steps] == [
        "size",
        "signature",
        "signature",
        "payload type",
        "predicate",
        "statement",
        "trust",
    ]


# --- the container, altered by whoever carries it: no key needed, so none may help

CONTAINER = {
    "empty": (lambda d: b"", "not valid JSON"),
    "binary": (lambda d: b"\x00\xff" * 40, "not valid JSON"),
    "cut": (lambda d: d[:-1], "not valid JSON"),
    "newline at the end": (lambda d: d + b"\n", "not in canonical form"),
    "space in front": (lambda d: b" " + d, "not in canonical form"),
    "space inside": (lambda d: d.replace(b'":', b'" :', 1), "not in canonical form"),
    "byte order mark": (lambda d: b"\xef\xbb\xbf" + d, "not valid JSON"),
    "utf-16": (lambda d: d.decode().encode("utf-16"), "not valid JSON"),
    "two documents": (lambda d: d + d, "not valid JSON"),
    "escaped letter": (
        lambda d: d.replace(b"mediaType", b"\\u006dediaType", 1),
        "not in canonical",
    ),
    "duplicate key": (
        lambda d: d.replace(b'{"mediaType"', b'{"mediaType":"x","mediaType"', 1),
        "has a key twice",
    ),
    "duplicate payload": (
        lambda d: d.replace(b'"payloadType"', b'"payload":"eA==","payloadType"', 1),
        "has a key twice",
    ),
    "a float": (lambda d: d.replace(b"[]", b"[1.0]", 1), "not an integer"),
    "NaN": (lambda d: d.replace(b"[]", b"[NaN]", 1), "not an integer"),
    "nested deep": (lambda d: b"[" * 200_000, "not valid JSON"),
    "a list": (lambda d: b"[]", "not a JSON object"),
    "unknown field": (lambda d: edited(d, lambda v: v.update(note="x")), "unknown field"),
    "no envelope": (lambda d: edited(d, lambda v: v.pop("dsseEnvelope") and None), "lacks"),
    "message signature": (
        lambda d: edited(d, lambda v: v.update(messageSignature=v.pop("dsseEnvelope"))),
        "lacks 'dsseEnvelope'",
    ),
    "media type": (lambda d: edited(d, lambda v: v.update(mediaType="x")), "not a Sigstore bundle"),
    "media type of old": (
        lambda d: edited(
            d,
            lambda v: v.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1"),
        ),
        "not a Sigstore bundle",
    ),
    "fields turned round": (
        lambda d: edited(d, lambda v: dict(reversed(v.items()))),
        "fields in another order",
    ),
    "two signatures": (
        lambda d: edited(
            d,
            lambda v: v["dsseEnvelope"].update(signatures=v["dsseEnvelope"]["signatures"] * 2),
        ),
        "more than 1 entries",
    ),
    "no signature": (
        lambda d: edited(d, lambda v: v["dsseEnvelope"].update(signatures=[])),
        "has no signature",
    ),
    "signature is text": (
        lambda d: edited(d, lambda v: v["dsseEnvelope"].update(signatures=["x"])),
        "not a JSON object",
    ),
    "key id in the envelope": (
        lambda d: edited(d, lambda v: v["dsseEnvelope"]["signatures"][0].update(keyid="x")),
        "keyid, which nothing would check",
    ),
    "key id that is a list": (
        lambda d: edited(d, lambda v: v["dsseEnvelope"]["signatures"][0].update(keyid=[])),
        "keyid, which nothing would check",
    ),
    "two methods": (
        lambda d: edited(
            d,
            lambda v: v["verificationMaterial"].update(x509CertificateChain={"certificates": []}),
        ),
        "no signing method, or more than one",
    ),
    "no method": (
        lambda d: edited(d, lambda v: v["verificationMaterial"].pop("publicKey") and None),
        "no signing method, or more than one",
    ),
    "a log entry nobody reads": (
        lambda d: edited(d, lambda v: v["verificationMaterial"].update(tlogEntries=[{}])),
        "log entries nobody would check",
    ),
    "material is a list": (
        lambda d: edited(d, lambda v: v.update(verificationMaterial=[])),
        "not a JSON object",
    ),
    "hint is a number": (
        lambda d: edited(d, lambda v: v["verificationMaterial"].update(publicKey={"hint": 1})),
        "hint is not text",
    ),
    "base64 with a line break": (
        lambda d: edited(
            d, lambda v: v["dsseEnvelope"].update(payload=v["dsseEnvelope"]["payload"] + "\n")
        ),
        "payload is not base64",
    ),
    "base64 spelled otherwise": (
        lambda d: edited(d, lambda v: v["dsseEnvelope"].update(payload="eB==")),
        "not canonical base64",
    ),
    "base64 without padding": (
        lambda d: edited(d, lambda v: v["dsseEnvelope"].update(payload="eA")),
        "payload is not base64",
    ),
    "a timestamp that is none": (
        lambda d: edited(
            d,
            lambda v: v["verificationMaterial"].update(
                timestampVerificationData={"rfc3161Timestamps": []}
            ),
        ),
        "rfc3161Timestamps is empty",
    ),
    "a timestamp, and no authority to check it": (
        lambda d: edited(
            d,
            lambda v: v["verificationMaterial"].update(
                timestampVerificationData={"rfc3161Timestamps": [{"signedTimestamp": "eA=="}]}
            ),
        ),
        "carries no timestamp authority",
    ),
    # altered inside
    "empty payload": (
        lambda d: edited(d, lambda v: v["dsseEnvelope"].update(payload="")),
        "the signature is not valid",
    ),
    "payload altered": (
        lambda d: edited(d, lambda v: v["dsseEnvelope"].update(payload="e30=")),
        "the signature is not valid",
    ),
    "signature altered": (
        lambda d: edited(d, lambda v: v["dsseEnvelope"]["signatures"][0].update(sig="eA==")),
        "the signature is not valid",
    ),
    "signature empty": (
        lambda d: edited(d, lambda v: v["dsseEnvelope"]["signatures"][0].update(sig="")),
        "the signature is not valid",
    ),
    "payload type swapped": (
        lambda d: edited(d, lambda v: v["dsseEnvelope"].update(payloadType="text/plain")),
        "the signature is not valid",
    ),
    "hint in capitals": (
        lambda d: edited(
            d,
            lambda v: v["verificationMaterial"]["publicKey"].update(
                hint=v["verificationMaterial"]["publicKey"]["hint"].upper()
            ),
        ),
        "which nobody in the trust root holds",
    ),
}


@pytest.mark.parametrize("which", ["vetter.sig", "approver.sig"])
@pytest.mark.parametrize("attack", CONTAINER)
def test_altered_container(kit, attack, which):
    alter, reason = CONTAINER[attack]
    good = kit.good()
    assert alter(good[which]) != good[which]
    refused(kit, f"^{which}: .*{reason}", good | {which: alter(good[which])})


def test_hint_of_another_known_key(kit):
    other = kit.signer("eve").key_id
    good = kit.good()
    good["vetter.sig"] = edited(
        good["vetter.sig"],
        lambda v: v["verificationMaterial"]["publicKey"].update(hint=other),
    )
    refused(kit, "the signature is not valid", good)


def test_signature_moved_from_another_payload(kit):
    good = kit.good()
    other = json.loads(kit.payload(files=FILES[:2]))["dsseEnvelope"]["signatures"]
    good["vetter.sig"] = edited(
        good["vetter.sig"], lambda v: v["dsseEnvelope"].update(signatures=other)
    )
    refused(kit, "the signature is not valid", good)


def test_size_caps(kit):
    refused(kit, "larger than", kit.good() | {"approver.sig": b" " * (4 * 1024 * 1024 + 1)})


# --- names of signature files


@pytest.mark.parametrize(
    ("rename", "reason"),
    [
        ({"vetter.sig": None}, "not signed: vetter.sig is missing"),
        ({"approver.sig": None}, "0 of 1 needed approver"),
        ({"vetter.sig": "vetter-2.sig"}, "missing or was renamed"),
        ({"approver.sig": "approver-2.sig"}, "missing or was renamed"),
        ({"approver.sig": "Approver.sig"}, "not a name for a signature"),
        ({"approver.sig": "approver-1.sig"}, "not a name for a signature"),
        ({"approver.sig": "approver-22.sig"}, "not a name for a signature"),
        ({"approver.sig": "approver.sig\n"}, "not a name for a signature"),
        ({"approver.sig": "../approver.sig"}, "not a name for a signature"),
        ({"vetter.sig": "runtime.sig"}, "not a name for a signature"),
        ({"vetter.sig": "approver.sig", "approver.sig": "vetter.sig"}, "predicate is"),
    ],
)
def test_renamed_files(kit, rename, reason):
    renamed = {rename.get(n, n): d for n, d in kit.good().items()}
    renamed.pop(None, None)
    refused(kit, reason, renamed)


def test_too_many_files(kit):
    refused(kit, "20 signature files", {f"approver-{n}.sig": b"" for n in range(20)})


def test_no_files(kit):
    refused(kit, "not signed", {})


# --- signed validly, by the vetter's own key

PAYLOADS = {
    "another payload type": (statement(), "payload type is", "application/json"),
    "not JSON": (b"\x80", "statement is not valid JSON"),
    "duplicate key": (
        statement().replace(b'{"_type"', b'{"_type":1,"_type"', 1),
        "statement has a key twice",
    ),
    "loose spelling": (statement() + b" ", "statement is not in canonical form"),
    "old in-toto": (
        statement(lambda s: s.update(_type="https://in-toto.io/Statement/v0.1")),
        "not an in-toto Statement v1",
    ),
    "old predicate": (
        statement(lambda s: s.update(predicateType="https://model_signing/Digests/v0.1")),
        "predicate is",
    ),
    "provenance": (
        statement(lambda s: s.update(predicateType="https://slsa.dev/provenance/v1")),
        "predicate is",
    ),
    "field beside": (statement(lambda s: s.update(more=1)), "unknown field 'more'"),
    "no subject": (statement(lambda s: s.update(subject=[])), "has no subject"),
    "two subjects": (
        statement(lambda s: s.update(subject=s["subject"] * 2)),
        "more than 1 entries",
    ),
    "subject without name": (
        statement(lambda s: s["subject"][0].update(name="")),
        "subject has no name",
    ),
    "sha512 subject": (
        statement(lambda s: s["subject"][0].update(digest={"sha512": "00"})),
        "lacks 'sha256'",
    ),
    "wrong root": (
        statement(lambda s: s["subject"][0]["digest"].update(sha256=digest("0"))),
        "root digest is not that of its resources",
    ),
    "predicate with more": (
        statement(lambda s: s["predicate"].update(more=1)),
        "predicate has the unknown field",
    ),
    "shards": (
        statement(lambda s: s["predicate"]["serialization"].update(method="shards")),
        'method is not "files"',
    ),
    "blake3 everywhere": (
        statement(lambda s: s["predicate"]["serialization"].update(hash_type="blake3")),
        "hash_type is not sha256",
    ),
    "symbolic links": (
        statement(lambda s: s["predicate"]["serialization"].update(allow_symlinks=True)),
        "allows symbolic links",
    ),
    "symbolic links by another falsehood": (
        statement(lambda s: s["predicate"]["serialization"].update(allow_symlinks=0)),
        "allows symbolic links",
    ),
    "ignores what it lists": (
        statement(lambda s: s["predicate"]["serialization"].update(ignore_paths=["model"])),
        "ignores it too",
    ),
    "ignores the empty path": (
        statement(lambda s: s["predicate"]["serialization"].update(ignore_paths=[""])),
        "ignored path is empty",
    ),
    "one blake3": (
        with_resources([resource("SHA256SUMS", algorithm="blake3")]),
        "not hashed with SHA-256",
    ),
    "digest in capitals": (
        with_resources([resource("SHA256SUMS", "AB" * 32)]),
        "not a SHA-256 digest",
    ),
    "digest cut": (with_resources([resource("SHA256SUMS", "ab" * 31)]), "not a SHA-256 digest"),
    "unsorted": (
        with_resources([resource("b"), resource("SHA256SUMS")]),
        "not sorted by name",
    ),
    "listed twice": (
        with_resources([resource("SHA256SUMS"), resource("a"), resource("a")]),
        "names 'a' twice",
    ),
    "names that collide": (
        with_resources([resource("A.txt"), resource("SHA256SUMS"), resource("a.txt")]),
        "could be confused",
    ),
    "parent path": (
        with_resources([resource("../x"), resource("SHA256SUMS")]),
        "has an empty, '.' or '..' part",
    ),
    "absolute path": (
        with_resources([resource("/etc/passwd"), resource("SHA256SUMS")]),
        "absolute",
    ),
    "device name": (
        with_resources([resource("SHA256SUMS"), resource("model/aux.bin")]),
        "reserved device name",
    ),
    "hidden character": (
        with_resources([resource("SHA256SUMS"), resource("a\u202eb")]),
        "hidden or control character",
    ),
    "no SHA256SUMS": (with_resources([resource("a")]), "does not cover SHA256SUMS"),
    "nothing at all": (with_resources([]), "does not cover SHA256SUMS"),
    "resource with more": (
        with_resources([resource("SHA256SUMS") | {"size": 1}]),
        "unknown field 'size'",
    ),
}


@pytest.mark.parametrize("attack", PAYLOADS)
def test_signed_but_wrong_payload(kit, attack):
    payload, reason, *kind = PAYLOADS[attack]
    signatures = kit.good() | {"vetter.sig": craft(kit, "ann", payload, *kind)}
    refused(kit, f"{reason}", signatures)


def test_resigned_untouched_statement_is_accepted(kit):
    """The look-alike of all these: the same way of signing, with nothing wrong."""
    kit.verify(kit.good() | {"vetter.sig": craft(kit, "ann", statement())})


def test_two_vetters_who_saw_other_files(kit):
    signatures = kit.good() | {"vetter-2.sig": kit.payload("eve", FILES[:3])}
    refused(kit, "covers other files", signatures)


def test_two_vetters_who_agree(kit):
    proof = kit.verify(kit.good() | {"vetter-2.sig": kit.payload("eve")})
    assert [s.person for s in proof.signers] == ["ann", "eve", "bea"]


def test_swapped_names_keep_the_root_but_not_the_bundle(kit):
    """The Model Signing root covers digests in name order, not names: an approval must not rest on it."""
    renamed = ((FILES[0][0], Digest("5b" * 32)), (RelPath("bundle.jsoo"), FILES[1][1]), *FILES[2:])
    refused(kit, "approves the bundle", kit.good() | {"vetter.sig": kit.payload(files=renamed)})


# --- approvals, signed validly by the approver's own key


def approval_statement(kit, change) -> bytes:
    value = json.loads(base64.b64decode(json.loads(kit.approve())["dsseEnvelope"]["payload"]))
    change(value, value["predicate"], value["predicate"]["pratique_approval"])
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


APPROVALS = {
    "verdict failed": (lambda s, p, o: p.update(verificationResult="FAILED"), "not PASSED"),
    "verdict in small letters": (
        lambda s, p, o: p.update(verificationResult="passed"),
        "not PASSED",
    ),
    "another verifier": (
        lambda s, p, o: p.update(verifier={"id": "https://example.test"}),
        "unknown verifier",
    ),
    "resource of another bundle": (
        lambda s, p, o: p.update(resourceUri="urn:pratique:bundle:" + digest("0")),
        "resourceUri is not that of its subject",
    ),
    "newer schema": (lambda s, p, o: o.update(schema="pratique.approval/v2"), "unknown schema"),
    "field of tomorrow": (lambda s, p, o: o.update(override=True), "unknown field 'override'"),
    "no scope": (lambda s, p, o: o.pop("scope"), "lacks 'scope'"),
    "no expiry": (lambda s, p, o: o.pop("expires"), "lacks 'expires'"),
    "expiry is a date": (lambda s, p, o: o.update(expires="2099-01-01"), "is not a time like"),
    "expiry with an offset": (
        lambda s, p, o: o.update(expires="2099-01-01T00:00:00+00:00"),
        "is not a time like",
    ),
    "expires before issue": (
        lambda s, p, o: o.update(expires="2001-01-01T00:00:00Z"),
        "expires before it was issued",
    ),
    "empty reason": (lambda s, p, o: o.update(reason=" "), "reason is empty"),
    "reason with a line break": (lambda s, p, o: o.update(reason="a\nb"), "not plain text"),
    "no rung": (lambda s, p, o: o.update(rungs=[]), "permits no rung"),
    "unknown rung": (lambda s, p, o: o.update(rungs=["gpu"]), "permits no rung"),
    "rung twice": (lambda s, p, o: o.update(rungs=["auto", "auto"]), "permits no rung"),
    "variant as a path": (lambda s, p, o: o.update(variants=["../x"]), "not a name"),
    "malformed allowance": (
        lambda s, p, o: o.update(allowances=[{"check": "x"}]),
        "allowance is malformed",
    ),
    "another bundle": (
        lambda s, p, o: (
            s["subject"][0]["digest"].update(sha256=digest("0")),
            p.update(resourceUri="urn:pratique:bundle:" + digest("0")),
        ),
        "approves the bundle",
    ),
}


@pytest.mark.parametrize("attack", APPROVALS)
def test_signed_but_wrong_approval(kit, attack):
    change, reason = APPROVALS[attack]
    payload = approval_statement(kit, change)
    refused(kit, reason, kit.good() | {"approver.sig": craft(kit, "bea", payload)})


def test_resigned_untouched_approval_is_accepted(kit):
    payload = approval_statement(kit, lambda s, p, o: None)
    kit.verify(kit.good() | {"approver.sig": craft(kit, "bea", payload)})


# --- people, roles, thresholds


@pytest.mark.parametrize(
    ("vetter", "approver", "reason"),
    [
        ("stranger", "bea", "which nobody in the trust root holds"),
        ("ann", "stranger", "which nobody in the trust root holds"),
        ("dan", "bea", "dan does not hold the role vetter"),
        ("ann", "dan", "dan does not hold the role approver"),
        ("bea", "cy", "bea does not hold the role vetter"),
        ("ann", "eve", "eve does not hold the role approver"),
        ("ann", "ann", "ann signed as vetter and as approver"),
    ],
)
def test_who_signed(kit, vetter, approver, reason):
    refused(kit, reason, {"vetter.sig": kit.payload(vetter), "approver.sig": kit.approve(approver)})


def test_threshold_needs_people_not_keys(own):
    """Two keys of one person are one approver."""
    people = (
        Person(name="ann", keys=(own.pem("ann"),)),
        Person(name="bea", keys=(own.pem("bea"), own.pem("bea-laptop"))),
        Person(name="cy", keys=(own.pem("cy"),)),
    )
    roles = {
        Role.VETTER: RoleRule(holders=("ann",), threshold=1),
        Role.APPROVER: RoleRule(holders=("bea", "cy"), threshold=2),
    }
    own.init(own.trust_file(people=people, roles=roles)).install()
    twice = own.good() | {"approver-2.sig": own.approve("bea-laptop")}
    refused(own, "1 of 2 needed approver signatures", twice)
    refused(
        own, "1 of 2 needed approver signatures", own.good() | {"approver-2.sig": own.approve()}
    )
    proof = own.verify(own.good() | {"approver-2.sig": own.approve("cy")})
    assert len(proof.approvals) == 2


def test_a_model_vetter_may_not_sign_the_runtime(kit):
    signatures = {"runtime.sig": kit.payload("ann"), "approver.sig": kit.approve()}
    refused(kit, "ann does not hold the role runtime", signatures, payload_role=Role.RUNTIME)
    signatures["runtime.sig"] = kit.payload("eve")
    assert kit.verify(signatures, payload_role=Role.RUNTIME).signers[0].role is Role.RUNTIME


def test_no_approval_suffices_only_where_the_root_says_so(own):
    roles = {
        Role.VETTER: RoleRule(holders=("ann",), threshold=1),
        Role.APPROVER: RoleRule(holders=(), threshold=0),
    }
    own.init(own.trust_file(roles=roles, single_person=True)).install()
    proof = own.verify({"vetter.sig": own.payload()})
    assert proof.expires is None
    assert proof.variants is None


# --- scope and time of approvals


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        ({"scope": Scope("other", "*")}, {}, "holds for the enclave 'other'"),
        ({"scope": Scope(ENCLAVE, "chat")}, {"use": "agents"}, "holds for the use 'chat'"),
        ({"expires": -DAY, "issued": -2 * DAY}, {}, "bea's does not count: expired on"),
        ({"issued": DAY}, {}, "after the time of this host"),
        ({"expires": 400 * DAY}, {}, "longer than the 366 days"),
        (
            {"expires": 40 * DAY},
            {"rules": TrustRules(max_approval_days=30)},
            "longer than the 30 days",
        ),
    ],
)
def test_scope_and_time(kit, change, options, reason):
    for name in ("issued", "expires"):
        if name in change:
            change = change | {name: kit.now + change[name]}
    refused(kit, reason, kit.good() | {"approver.sig": kit.approve(**change)}, **options)


@pytest.mark.parametrize("scope", [Scope(ENCLAVE, "chat"), Scope("*", "*"), Scope("*", "chat")])
def test_scopes_that_fit(kit, scope):
    kit.verify(kit.good() | {"approver.sig": kit.approve(scope=scope)}, use="chat")


def test_enclave_that_requires_its_name(own):
    own.init(own.trust_file(rules=SigningRules(enclave_scope="required"))).install()
    own.verify(own.good())
    wide = own.approve(scope=Scope("*", "*"))
    refused(own, "names no enclave", own.good() | {"approver.sig": wide})


def test_policies_that_count(own):
    own.init(own.trust_file(rules=SigningRules(policies=(digest("c"),)))).install()
    refused(own, "which is not accepted", own.good())


def test_one_of_three_approvals_expired_is_not_fatal(own):
    roles = {
        Role.VETTER: RoleRule(holders=("ann",), threshold=1),
        Role.APPROVER: RoleRule(holders=("bea", "cy", "dan"), threshold=2),
    }
    own.init(own.trust_file(roles=roles)).install()
    old = own.approve(issued=own.now - 2 * DAY, expires=own.now - DAY)
    three = {
        "vetter.sig": own.payload(),
        "approver.sig": old,
        "approver-2.sig": own.approve("cy", expires=own.now + 10 * DAY),
        "approver-3.sig": own.approve("dan", expires=own.now + 20 * DAY),
    }
    proof = own.verify(three)
    assert proof.expires == own.now + 10 * DAY
    assert [s.person for s in proof.void] == ["bea"]
    refused(own, "1 of 2 needed .*bea's does not count: expired", three, now=own.now + 15 * DAY)


# --- allowances


def allowance(owner, days=30, *, now):
    return Allowance(
        check="remote-code",
        digest=digest("d"),
        reason="read line by line",
        owner=owner,
        expires=(now + days * DAY).date(),
    )


@pytest.mark.parametrize("owner", ["bea", "BEA", " bea "])
def test_own_allowance(kit, owner):
    approved = kit.approve(allowances=(allowance(owner, now=kit.now),))
    refused(kit, "approves an allowance of their own", kit.good() | {"approver.sig": approved})


def test_allowance_owned_by_ones_key(kit):
    approved = kit.approve(allowances=(allowance(kit.signer("bea").key_id, now=kit.now),))
    refused(kit, "approves an allowance of their own", kit.good() | {"approver.sig": approved})


def test_somebody_elses_allowance_is_accepted(kit):
    approved = kit.approve(allowances=(allowance("ann", now=kit.now),))
    proof = kit.verify(kit.good() | {"approver.sig": approved})
    assert proof.approvals[0].approval.allowances[0].owner == "ann"


def test_an_approval_ends_with_its_first_allowance(kit):
    given = (allowance("ann", 20, now=kit.now), allowance("ann", 10, now=kit.now))
    proof = kit.verify(kit.good() | {"approver.sig": kit.approve(allowances=given)})
    midnight = datetime.combine((kit.now + 11 * DAY).date(), time(), UTC)
    assert proof.expires == midnight
    far = (allowance("ann", 3000, now=kit.now),)
    proof = kit.verify(kit.good() | {"approver.sig": kit.approve(allowances=far)})
    assert proof.expires == proof.approvals[0].approval.expires


def test_expired_allowance(kit):
    approved = kit.approve(allowances=(allowance("ann", -1, now=kit.now),))
    refused(kit, "accepts an allowance that expired", kit.good() | {"approver.sig": approved})


# --- revocation


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("bundle", lambda k: FILES[0][1], "the bundle is revoked since"),
        ("model", lambda k: FILES[3][1], "'model/model.safetensors' is revoked since"),
        ("key", lambda k: k.signer("ann").key_id, "ann's does not count: key revoked"),
        ("key", lambda k: k.signer("bea").key_id, "bea's does not count: key revoked"),
        ("identity", lambda k: "ann", "ann's does not count: identity revoked"),
        ("identity", lambda k: "bea", "bea's does not count: identity revoked"),
    ],
)
def test_revoked(own, kind, name, reason):
    own.init().install()
    own.verify(own.good())
    own.revoke(kind, name(own))
    own.install()
    refused(own, reason, own.good())


def test_key_revoked_tomorrow_voids_signatures_without_timestamp(own):
    """Nothing shows when a signature without timestamp was made, so the date cannot save it."""
    own.init()
    own.revoke("key", own.signer("ann").key_id, at=own.now + DAY)
    own.install()
    refused(own, "key revoked", own.good())


def test_revoking_others_changes_nothing(own):
    own.init()
    own.revoke("identity", "dan")
    own.install()
    own.verify(own.good())


# --- clock, age, algorithms


def test_clock_before_the_installation(kit):
    refused(kit, "the clock ran backwards", kit.good(), now=kit.now - timedelta(minutes=6))
    kit.verify(kit.good(), now=kit.now - timedelta(minutes=4))


def test_stale_trust(own):
    own.init().install()
    later = own.now + 31 * DAY
    rules = TrustRules(max_trust_age_days=30)
    refused(own, "the trust root is stale", own.good(), now=later, rules=rules)
    own.verify(own.good(), now=later, rules=rules, grace=2 * DAY)


def test_timestamps_required(own):
    own.init(own.trust_file(rules=SigningRules(timestamps="required"))).install()
    refused(own, "bears no timestamp, which this enclave requires", own.good())


def test_fips_admits_approved_algorithms_only(own):
    own.signer("ann", "ed25519")
    own.init().install()
    own.verify(own.good())
    refused(own, 'Ed25519 is not admitted under crypto = "fips"', own.good(), crypto="fips")


def test_fips_admits_ecdsa(kit):
    kit.verify(kit.good(), crypto="fips")


def test_naive_time_is_a_mistake_of_the_caller(kit):
    with pytest.raises(TypeError):
        kit.verify(kit.good(), now=kit.now.replace(tzinfo=None))


def test_nothing_is_parsed_before_it_is_verified(kit, monkeypatch):
    """A payload whose signature is bad never reaches a parser of payloads."""
    from pratique.attest import verify

    def explode(*_):
        raise AssertionError("parsed an unverified payload")

    bad = edited(kit.payload(), lambda v: v["dsseEnvelope"].update(payload="e30="))
    monkeypatch.setattr(verify, "read_header", explode)
    refused(kit, "the signature is not valid", kit.good() | {"vetter.sig": bad})


def test_one_bad_file_stops_before_any_payload_is_read(kit, monkeypatch):
    from pratique.attest import verify

    seen = []
    original = verify.read_header
    monkeypatch.setattr(verify, "read_header", lambda p: seen.append(p) or original(p))
    refused(kit, "not valid JSON", kit.good() | {"approver.sig": b"x"})
    assert seen == []


def test_signing_sorts_and_refuses_collisions(kit):
    from pratique.errors import FormatError

    assert sign_payload(reversed(FILES), kit.signer("ann")) != b""
    kit.verify(kit.good() | {"vetter.sig": sign_payload(reversed(FILES), kit.signer("ann"))})
    with pytest.raises(FormatError, match="confused"):
        sign_payload(
            [(RelPath("a"), Digest("1" * 64)), (RelPath("A"), Digest("2" * 64))], kit.signer("ann")
        )
