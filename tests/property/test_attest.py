"""Properties of signature files, statements, approvals and fingerprints."""

import contextlib
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pratique.attest import canonical, envelope
from pratique.attest.approvals import read_approval, write_approval
from pratique.attest.envelope import ChainMaterial, KeyMaterial, SignatureFile
from pratique.attest.statement import read_header, read_model, write_model
from pratique.attest.trustfile import (
    Person,
    Revocation,
    Revocations,
    RoleRule,
    SigstoreAccount,
    TrustFile,
    read_revocations,
    read_trust,
    write_revocations,
    write_trust,
)
from pratique.attest.tsa_token import check_signer
from pratique.attest.values import Approval, Role, Scope
from pratique.attest.words import matches, spell
from pratique.core.findings import PolicyRef
from pratique.core.ids import BundleId, Digest, RelPath, path_problem
from pratique.core.policy import Allowance
from pratique.errors import FormatError, PratiqueError, VerificationRefused
from tests.support.localsigstore import Timestamper
from tests.support.trustkit import Kit

NOW = datetime.now(UTC).replace(microsecond=0)
hexes = st.binary(min_size=32, max_size=32).map(bytes.hex)
lines = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=40
)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,20}", fullmatch=True)
paths = st.from_regex(r"[a-z0-9]{1,5}(/[a-z0-9é]{1,5}){0,3}", fullmatch=True).filter(
    lambda p: path_problem(p) is None
)
times = st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1)).map(  # noqa: DTZ001  # zone added
    lambda t: t.replace(microsecond=0, tzinfo=UTC)
)


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    kit = Kit(tmp_path_factory.mktemp("property")).init()
    kit.install()
    return kit


@pytest.fixture(scope="module")
def good(kit):
    return kit.good()


@pytest.fixture(scope="module")
def trust(kit):
    return kit.trust()


many = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# --- no byte of a signature file can change unnoticed


@many
@given(
    which=st.sampled_from(["vetter.sig", "approver.sig"]),
    at=st.integers(0),
    xor=st.integers(1, 255),
)
def test_any_byte_flipped(kit, good, trust, *, which, at, xor):
    data = bytearray(good[which])
    data[at % len(data)] ^= xor
    with pytest.raises(VerificationRefused):
        kit.verify(good | {which: bytes(data)}, trust=trust)


@many
@given(
    which=st.sampled_from(["vetter.sig", "approver.sig"]),
    at=st.integers(0),
    inserted=st.binary(min_size=1, max_size=3),
)
def test_any_bytes_inserted(kit, good, trust, *, which, at, inserted):
    data = good[which]
    cut = at % (len(data) + 1)
    with pytest.raises(VerificationRefused):
        kit.verify(good | {which: data[:cut] + inserted + data[cut:]}, trust=trust)


@many
@given(
    which=st.sampled_from(["vetter.sig", "approver.sig"]),
    at=st.integers(0),
    size=st.integers(1, 20),
)
def test_any_bytes_removed(kit, good, trust, *, which, at, size):
    data = good[which]
    cut = at % len(data)
    altered = data[:cut] + data[cut + size :]
    assume(altered not in without_empty_members(data))
    with pytest.raises(VerificationRefused):
        kit.verify(good | {which: altered}, trust=trust)


def without_empty_members(data: bytes) -> list[bytes]:
    """Other writers leave these two out when they are empty: the same bundle in Sigstore's JSON."""
    return [data.replace(member, b"") for member in (b',"tlogEntries":[]', b',"keyid":""')]


@pytest.mark.parametrize("which", ["vetter.sig", "approver.sig"])
def test_empty_members_may_be_left_out_and_nothing_else_changes(kit, good, trust, which):
    expected = kit.verify(good, trust=trust)
    for altered in without_empty_members(good[which]):
        assert altered != good[which]
        found = kit.verify(good | {which: altered}, trust=trust)
        assert (found.bundle_id, found.files) == (expected.bundle_id, expected.files)
        assert found.approvals == expected.approvals


def test_every_single_byte_of_the_pair(kit, good, trust):
    for which, data in good.items():
        for at in range(len(data)):
            altered = bytearray(data)
            altered[at] ^= 0x20  # also turns letters' case
            with pytest.raises(VerificationRefused):
                kit.verify(good | {which: bytes(altered)}, trust=trust)


@many
@given(data=st.binary(max_size=300))
def test_garbage_is_refused_and_never_breaks(kit, good, trust, data):
    with pytest.raises(VerificationRefused):
        kit.verify(good | {"vetter.sig": data}, trust=trust)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@many
@given(value=json_values)
def test_json_of_any_shape_is_refused(kit, good, trust, value):
    with pytest.raises(VerificationRefused):
        kit.verify(good | {"vetter.sig": canonical.dump(value)}, trust=trust)


@many
@given(
    field=st.sampled_from(["verificationMaterial", "dsseEnvelope", "mediaType"]), value=json_values
)
def test_fields_of_any_shape_are_refused(kit, good, trust, field, value):
    bundle = json.loads(good["vetter.sig"])
    bundle[field] = value
    with pytest.raises(VerificationRefused):
        kit.verify(good | {"vetter.sig": canonical.dump_in_order(bundle)}, trust=trust)


# --- round trips


@given(
    payload=st.binary(max_size=200),
    signature=st.binary(max_size=80),
    kind=lines,
    material=st.builds(KeyMaterial, hint=lines)
    | st.builds(
        ChainMaterial,
        st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=3).map(tuple),
        st.lists(st.binary(min_size=1, max_size=40), max_size=3, unique=True).map(tuple),
    ),
)
def test_signature_files(payload, signature, kind, material):
    parts = SignatureFile(material, kind, payload, signature)
    assert envelope.read(envelope.write(parts)) == parts


@given(value=json_values)
def test_canonical_json_has_one_spelling(value):
    data = canonical.dump(value)
    assert canonical.parse(data, "x") == value
    for other in (data + b" ", b" " + data, json.dumps(value, indent=1).encode() + b"\n"):
        with pytest.raises(FormatError):
            canonical.parse(other, "x")


@given(data=st.binary(max_size=200))
def test_parsers_raise_nothing_else(data):
    for parse in (
        lambda: canonical.parse(data, "x", canonical.FILE_LAYOUTS),
        lambda: envelope.read(data),
        lambda: read_header(data),
        lambda: read_trust(data),
        lambda: read_revocations(data),
        lambda: check_signer(data),
    ):
        with contextlib.suppress(PratiqueError):
            parse()


@given(files=st.dictionaries(paths, hexes, max_size=8), name=lines)
def test_statements(files, name):
    entries = [(RelPath(p), Digest(d)) for p, d in files.items()]
    statement = read_model(read_header(write_model(entries, name)))
    assert dict(statement.files) == files
    assert list(statement.files) == sorted(files, key=str.encode)
    joined = b"".join(bytes.fromhex(d) for d in statement.files.values())
    assert statement.root == hashlib.sha256(joined).hexdigest()


allowances = st.builds(
    Allowance,
    check=names,
    digest=hexes,
    reason=st.text("abc ", min_size=8, max_size=20),
    owner=lines,
    expires=times.map(datetime.date),
    path=st.none() | paths,
)


@given(
    bundle=hexes,
    policy=st.builds(PolicyRef, lines, hexes),
    name=lines,
    issued=times,
    days=st.integers(1, 1000),
    reason=lines,
    allowed=st.lists(allowances, max_size=3).map(tuple),
    rungs=st.permutations(["auto", "device_map", "int8", "nf4"]).flatmap(
        lambda r: st.integers(1, 4).map(lambda n: tuple(r[:n]))
    ),
    variants=st.lists(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), unique=True, max_size=3),
    scope=st.builds(Scope, lines, lines),
)
def test_approvals(*, bundle, policy, name, issued, days, reason, allowed, rungs, variants, scope):
    approval = Approval(
        BundleId(bundle),
        name,
        policy,
        issued,
        issued + timedelta(days=days),
        reason,
        allowed,
        rungs,
        tuple(variants),
        scope,
    )
    assert read_approval(read_header(write_approval(approval))) == approval


revoked = st.builds(
    Revocation, kind=st.sampled_from(["bundle", "key", "model"]), id=hexes, reason=lines, at=times
)


@given(first=st.lists(revoked, max_size=4), second=st.lists(revoked, max_size=2))
def test_revocation_lists(first, second):
    value = Revocations(
        schema="pratique.revocations/v1", revoked=tuple(first), lifted=tuple(second)
    )
    assert read_revocations(write_revocations(value)) == value


@given(
    people=st.lists(
        st.tuples(names, lines, lines, lines),
        min_size=2,
        max_size=4,
        unique_by=(lambda p: p[0].casefold(), lambda p: p[1], lambda p: p[2]),
    ),
    issued=times,
    enclave=names,
)
def test_trust_files(people, issued, enclave):
    everybody = tuple(
        Person(name=n, certificates=(c,), sigstore=(SigstoreAccount(subject=s, issuer=i),))
        for n, c, s, i in people
    )
    value = TrustFile(
        schema="pratique.trust/v1",
        enclave=enclave,
        issued=issued,
        people=everybody,
        roles={
            Role.VETTER: RoleRule(holders=(people[0][0],), threshold=1),
            Role.APPROVER: RoleRule(holders=tuple(p[0] for p in people), threshold=len(people)),
        },
    )
    assert read_trust(write_trust(value)) == value


@given(one=hexes, other=hexes)
def test_words_tell_fingerprints_apart(one, other):
    assert matches(one, spell(one))
    assert matches(one, one)
    assert matches(one, spell(one).upper().replace(" ", "-"))
    assert matches(one, spell(other)) == (one[:32] == other[:32])
    assert len(spell(one).split()) == 8


@settings(max_examples=50, deadline=None)
@given(at=st.integers(0), xor=st.integers(1, 255))
def test_no_byte_of_a_timestamp_changes_unnoticed(tsa, at, xor):
    from pratique.attest import timestamp
    from tests.support.localsigstore import der

    authority, token = tsa
    chain = (tuple(der(c) for c in authority.chain),)
    assert timestamp.verify((token,), b"signature", chain) == NOW
    altered = bytearray(token)
    altered[at % len(token)] ^= xor
    with pytest.raises(VerificationRefused):
        timestamp.verify((bytes(altered),), b"signature", chain)


@pytest.fixture(scope="module")
def tsa():
    authority = Timestamper(NOW - timedelta(days=1), NOW + timedelta(days=1))
    return authority, authority.stamp(b"signature", NOW)
