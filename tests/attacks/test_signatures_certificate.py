"""Certificates, RFC 3161 timestamps and revocation lists: each way of being wrong, each its reason."""

import json
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from pratique.attest.certificate import CertificateSigner, load_certificate_signer
from pratique.attest.keys import KeySigner
from pratique.attest.values import Role
from pratique.errors import SealError, VerificationRefused
from tests.support.localsigstore import CA, Timestamper, dumps
from tests.support.trustkit import Kit, Person, RoleRule, disk_without_waiting

__all__ = ["disk_without_waiting"]  # a fixture, used by being here
DAY = timedelta(days=1)
ANN = "ann@ships.test"


class StampAt:
    """A timestamp authority whose clock says what the test wants."""

    def __init__(self, tsa, at):
        self.tsa, self.at = tsa, at

    def stamp(self, signature):
        return self.tsa.stamp(signature, self.at)


class Pki:
    """A corporate PKI around one moment, and an enclave that trusts it."""

    def __init__(self, root):
        self.kit = Kit(root)
        self.now = self.kit.now
        self.start, self.end = self.now - 90 * DAY, self.now + 900 * DAY
        self.root = CA("ships root", self.start, self.end)
        self.ca = CA("ships issuing", self.start, self.end, issuer=self.root, depth=0)
        self.tsa = Timestamper(self.start, self.end)
        self.key, self.leaf = self.issue(ANN)
        people = (
            Person(name="ann", certificates=(ANN, "https://ships.test/ci")),
            Person(name="bea", keys=(self.kit.pem("bea"),)),
        )
        roles = {
            Role.VETTER: RoleRule(holders=("ann",), threshold=1),
            Role.APPROVER: RoleRule(holders=("bea",), threshold=1),
        }
        self.kit.init(self.kit.trust_file(people=people, roles=roles), self.files())
        self.kit.install()

    def files(self, **changed):
        return {
            "ca/root.pem": self.root.certificate.public_bytes(Encoding.PEM),
            "tsa/tsa.pem": self.tsa.pem,
            "crl/root.crl": self.root.crl(at=self.now),
            "crl/issuing.crl": self.ca.crl(at=self.now),
        } | changed

    def carry(self, **changed):
        """Install a set with other files."""
        self.kit.change(
            lambda old: {n: d for n, d in (old | self.files(**changed)).items() if d is not None}
        )
        self.kit.install()

    def issue(self, *names, ca=None, start=None, end=None, **options):
        return (ca or self.ca).leaf(
            *names,
            start=start or self.now - 30 * DAY,
            end=end or self.now + 300 * DAY,
            **options,
        )

    def sign(self, key=None, leaf=None, *, stamped=None, tsa=None, chain=None):
        authority = StampAt(tsa or self.tsa, stamped) if stamped else None
        certificates = (leaf or self.leaf, *(chain or (self.ca.certificate,)))
        # The constructor reads the name; tests of odd names set it aside.
        signer = CertificateSigner.__new__(CertificateSigner)
        signer._signer = KeySigner(key or self.key)
        signer._certificates = certificates
        signer._authority = authority
        return self.kit.good() | {"vetter.sig": self._payload(signer)}

    def _payload(self, signer):
        from pratique.attest.sign import sign_payload
        from tests.support.trustkit import FILES

        return sign_payload(FILES, signer)

    def good(self):
        return self.sign()

    def verify(self, signatures, **options):
        return self.kit.verify(signatures, **options)

    def refused(self, reason, signatures, **options):
        with pytest.raises(VerificationRefused, match=reason):
            self.kit.verify(signatures, **options)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    made = Pki(tmp_path_factory.mktemp("pki"))
    made.kit.payload = None  # nobody vets by key here
    made.kit.good = lambda: {"approver.sig": made.kit.approve()}
    return made


@pytest.fixture
def own(tmp_path):
    made = Pki(tmp_path)
    made.kit.good = lambda: {"approver.sig": made.kit.approve()}
    return made


def test_accepted_without_and_with_a_timestamp(pki):
    assert pki.verify(pki.good()).signers[0].signed_at is None
    proof = pki.verify(pki.sign(stamped=pki.now - DAY))
    assert proof.signers[0].signed_at == pki.now - DAY
    assert proof.signers[0].identity.subject == ANN


def test_a_uri_names_somebody_too(pki):
    key, leaf = pki.issue("https://ships.test/ci")
    assert pki.verify(pki.sign(key, leaf)).signers[0].person == "ann"


def test_the_root_may_be_carried_along(pki):
    pki.verify(pki.sign(chain=(pki.ca.certificate, pki.root.certificate)))


def test_fips_admits_it(pki):
    pki.verify(pki.good(), crypto="fips")


# --- certificates


def certificate_cases(pki):
    old = {"start": pki.now - 60 * DAY, "end": pki.now - 30 * DAY}
    stranger = CA("strangers", pki.start, pki.end)
    twin = CA("ships root", pki.start, pki.end)
    twin_issuing = CA("ships issuing", pki.start, pki.end, issuer=twin, depth=0)
    return {
        "expired": (pki.issue(ANN, **old), {}, "was not valid on"),
        "expired when stamped": (pki.issue(ANN, **old), {"stamped": pki.now - DAY}, "not valid on"),
        "not yet valid": (
            pki.issue(ANN, start=pki.now + DAY, end=pki.now + 2 * DAY),
            {},
            "was not valid on",
        ),
        "stamped before it was valid": (None, {"stamped": pki.now - 80 * DAY}, "was not valid on"),
        "unknown authority": (
            pki.issue(ANN, ca=stranger),
            {"chain": (stranger.certificate,)},
            "does not chain to an authority",
        ),
        "authority of the same name": (
            pki.issue(ANN, ca=twin_issuing),
            {"chain": (twin_issuing.certificate, twin.certificate)},
            "does not chain to an authority",
        ),
        "intermediate missing": (None, {"chain": (pki.root.certificate,)}, "does not chain"),
        "for servers": (pki.issue(ANN, usage=Usage.SERVER_AUTH), {}, "not for code signing"),
        "for no usage": (pki.issue(ANN, usage=None), {}, "does not chain"),
        "not for signing": (pki.issue(ANN, signing=False), {}, "not for signing|does not chain"),
        "two addresses": (pki.issue(ANN, "x@ships.test"), {}, "or more than one"),
        "address and URI": (pki.issue(ANN, "https://ships.test/ci"), {}, "or more than one"),
        "address nobody has": (
            pki.issue("mallory@ships.test"),
            {},
            "whom the trust root does not name",
        ),
        "address in capitals": (
            pki.issue("ANN@ships.test"),
            {},
            "whom the trust root does not name",
        ),
        "another key": ((pki.issue(ANN)[0], pki.leaf), {}, "the signature is not valid"),
        "the authority itself": (
            (pki.ca.key, pki.ca.certificate),
            {"chain": (pki.root.certificate,)},
            "does not chain",
        ),
    }


CERTIFICATE_CASES = (
    "expired",
    "expired when stamped",
    "not yet valid",
    "stamped before it was valid",
    "unknown authority",
    "authority of the same name",
    "intermediate missing",
    "for servers",
    "for no usage",
    "not for signing",
    "two addresses",
    "address and URI",
    "address nobody has",
    "address in capitals",
    "another key",
    "the authority itself",
)


@pytest.mark.parametrize("case", CERTIFICATE_CASES)
def test_certificates(pki, case):
    cases = certificate_cases(pki)
    assert tuple(cases) == CERTIFICATE_CASES
    pair, options, reason = cases[case]
    key, leaf = pair or (None, None)
    pki.refused(reason, pki.sign(key, leaf, **options))


def test_expired_now_but_stamped_in_time_is_accepted(pki):
    key, leaf = pki.issue(ANN, start=pki.now - 60 * DAY, end=pki.now - 30 * DAY)
    proof = pki.verify(pki.sign(key, leaf, stamped=pki.now - 40 * DAY))
    assert proof.signers[0].signed_at == pki.now - 40 * DAY


def rewritten(data, change):
    value = json.loads(data)
    change(value, value["verificationMaterial"])
    return dumps(value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda v, m: m["x509CertificateChain"]["certificates"][0].update(rawBytes="MAA="),
            "certificates cannot be read",
        ),
        (
            lambda v, m: m["x509CertificateChain"]["certificates"][1].update(rawBytes="eA=="),
            "certificates cannot be read",
        ),
        (lambda v, m: m["x509CertificateChain"].update(certificates=[]), "is empty"),
        (
            lambda v, m: m["x509CertificateChain"].update(
                certificates=m["x509CertificateChain"]["certificates"] * 6
            ),
            "more than 10 entries",
        ),
        (
            lambda v, m: m["x509CertificateChain"]["certificates"].reverse(),
            "does not chain",
        ),
        (lambda v, m: v["dsseEnvelope"].update(payload="e30="), "the signature is not valid"),
    ],
)
def test_altered_file(pki, change, reason):
    signatures = pki.good()
    pki.refused(reason, signatures | {"vetter.sig": rewritten(signatures["vetter.sig"], change)})


# --- timestamps


def stamps(change):
    return lambda v, m: change(m["timestampVerificationData"]["rfc3161Timestamps"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            stamps(lambda t: t[0].update(signedTimestamp="MAA=")),
            "timestamp cannot be read|DER|shape",
        ),
        (stamps(lambda t: t[0].update(signedTimestamp="eA==")), "timestamp cannot be read|DER"),
        (stamps(lambda t: t.append(dict(t[0]))), "has one twice"),
        (stamps(lambda t: t.extend({"signedTimestamp": "eA=="} for _ in range(5))), "more than 4"),
        (lambda v, m: m.update(timestampVerificationData={}), "lacks 'rfc3161Timestamps'"),
        (stamps(lambda t: t[0].update(more=1)), "unknown field"),
    ],
)
def test_altered_timestamp(pki, change, reason):
    signatures = pki.sign(stamped=pki.now - DAY)
    pki.refused(reason, signatures | {"vetter.sig": rewritten(signatures["vetter.sig"], change)})


def test_timestamp_of_a_stranger(pki):
    stranger = Timestamper(pki.start, pki.end)
    pki.refused("not by an authority of the trust root", pki.sign(stamped=pki.now, tsa=stranger))


def test_timestamp_outside_its_authoritys_life(pki, own):
    dead = Timestamper(own.start, own.now - 10 * DAY)
    own.carry(**{"tsa/tsa.pem": dead.pem})
    own.refused("not by an authority", own.sign(stamped=own.now - DAY, tsa=dead))
    own.verify(own.sign(stamped=own.now - 20 * DAY, tsa=dead))


def test_timestamp_of_another_signature(pki):
    first, second = pki.sign(stamped=pki.now - DAY), pki.sign(stamped=pki.now - DAY)
    stamp = json.loads(second["vetter.sig"])["verificationMaterial"]["timestampVerificationData"]
    swapped = rewritten(first["vetter.sig"], lambda v, m: m.update(timestampVerificationData=stamp))
    pki.refused("not over this signature", first | {"vetter.sig": swapped})


def test_timestamp_in_the_future(pki):
    key, leaf = pki.issue(ANN)
    pki.refused("after the time of this host", pki.sign(key, leaf, stamped=pki.now + DAY))


def test_one_good_and_one_bad_timestamp(pki):
    """A bad timestamp is refused, not skipped in favour of a good one."""
    signatures = pki.sign(stamped=pki.now - DAY)
    stranger = Timestamper(pki.start, pki.end)
    import base64

    def add(v, m):
        signature = base64.b64decode(v["dsseEnvelope"]["signatures"][0]["sig"])
        other = base64.b64encode(stranger.stamp(signature, pki.now - 2 * DAY)).decode()
        m["timestampVerificationData"]["rfc3161Timestamps"].append({"signedTimestamp": other})

    pki.refused(
        "not by an authority", signatures | {"vetter.sig": rewritten(signatures["vetter.sig"], add)}
    )


def test_every_byte_of_a_timestamped_file_counts(pki):
    signatures = pki.sign(stamped=pki.now - DAY)
    data = signatures["vetter.sig"]
    for at in range(0, len(data), 7):
        altered = bytearray(data)
        altered[at] ^= 1
        with pytest.raises(VerificationRefused):
            pki.verify(signatures | {"vetter.sig": bytes(altered)})


# --- revocation lists


def test_revoked_before_signing(own):
    own.carry(**{"crl/issuing.crl": own.ca.crl((own.leaf, own.now - 5 * DAY), at=own.now)})
    own.refused("was revoked on", own.sign(stamped=own.now - DAY))
    own.refused("was revoked on", own.sign())


def test_revoked_after_a_stamped_signature_is_accepted(own):
    own.carry(**{"crl/issuing.crl": own.ca.crl((own.leaf, own.now - DAY), at=own.now)})
    own.verify(own.sign(stamped=own.now - 5 * DAY))
    own.refused("was revoked on", own.sign())


def test_revoked_authority(own):
    revoked = own.root.crl((own.ca.certificate, own.now - 5 * DAY), at=own.now)
    own.carry(**{"crl/root.crl": revoked})
    own.refused("was revoked on", own.sign())


@pytest.mark.parametrize(
    ("which", "make", "reason"),
    [
        ("crl/issuing.crl", lambda p: None, "has no revocation list"),
        ("crl/root.crl", lambda p: None, "has no revocation list"),
        ("crl/issuing.crl", lambda p: p.ca.crl(at=p.now, days=-1), "has no fresh revocation list"),
        ("crl/issuing.crl", lambda p: p.ca.crl(at=p.now, key=p.root.key), "has no revocation list"),
        ("crl/issuing.crl", lambda p: p.root.crl(at=p.now), "has no revocation list"),
        (
            "crl/issuing.crl",
            lambda p: p.ca.crl(at=p.now, extension=x509.DeltaCRLIndicator(1)),
            "is not a full one",
        ),
        ("crl/issuing.crl", lambda p: b"garbage", "certificates cannot be read"),
        ("ca/root.pem", lambda p: None, "carries no certificate authority"),
        ("tsa/tsa.pem", lambda p: None, "carries no timestamp authority"),
    ],
)
def test_what_the_trust_set_lacks(own, which, make, reason):
    own.carry(**{which: make(own)})
    own.refused(reason, own.sign(stamped=own.now - DAY))


def test_revoking_the_address_spares_what_was_stamped_before(own):
    own.kit.revoke("identity", ANN, at=own.now - 2 * DAY)
    own.kit.install()
    own.verify(own.sign(stamped=own.now - 3 * DAY))
    own.refused("identity revoked", own.sign(stamped=own.now - DAY))
    own.refused("identity revoked", own.sign())


# --- signing


def test_load_certificate_signer(own, tmp_path):
    file = tmp_path / "chain.pem"
    file.write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in (own.leaf, own.ca.certificate)))
    signer = load_certificate_signer(KeySigner(own.key), file, StampAt(own.tsa, own.now))
    assert signer.identity.subject == ANN
    own.verify(own.kit.good() | {"vetter.sig": own._payload(signer)})
    with pytest.raises(SealError, match="is not for this key"):
        load_certificate_signer(own.kit.signer("bea"), file)
    file.write_bytes(own.ca.certificate.public_bytes(Encoding.PEM))
    with pytest.raises(SealError, match="cannot be signed with"):
        load_certificate_signer(KeySigner(own.ca.key), file)
    with pytest.raises(SealError, match="cannot read"):
        load_certificate_signer(KeySigner(own.key), tmp_path / "absent")
    file.write_bytes(b"x")
    with pytest.raises(SealError, match="cannot be signed with"):
        load_certificate_signer(KeySigner(own.key), file)


def test_a_revoked_key_does_not_come_back_in_a_certificate(tmp_path):
    pki = Pki(tmp_path)
    vouched = pki.sign(stamped=pki.now - DAY)
    assert pki.verify(vouched)
    pki.kit.revoke("key", KeySigner(pki.key).key_id, at=pki.now - 2 * DAY)
    pki.kit.install()
    pki.refused("key revoked since", vouched)
    pki.refused("key revoked since", pki.sign())
