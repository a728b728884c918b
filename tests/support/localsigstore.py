"""A Sigstore and a corporate PKI of our own, wholly in memory: for tests of the real verifiers.

Certificate authority with embedded SCTs, transparency log with inclusion proofs and signed
checkpoints, RFC 3161 timestamp authority, revocation lists, trusted root. Formats: RFC 5280, RFC 6962
section 3 (SCT) and 2.1 (tree), RFC 3161 and RFC 5652 (tokens), C2SP checkpoints, Sigstore protobufs.
"""

import base64
import hashlib
import json
import os
import struct
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID, ObjectIdentifier

IN_TOTO = "application/vnd.in-toto+json"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SHA256 = hashes.SHA256()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def spki(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pae(payload: bytes, kind: str = IN_TOTO) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def sign(key, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(SHA256))


def subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "pratique tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def key_usage(**set_) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    ).split()
    return x509.KeyUsage(**{n: set_.get(n, False) for n in names})


def builder(name: x509.Name, issuer: x509.Name, key, start: datetime, end: datetime):
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def authority_key_id(key):
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


@dataclass
class CA:
    """A certificate authority; `issuer` None: a root."""

    name: str
    start: datetime
    end: datetime
    issuer: "CA | None" = None
    usage: tuple = ()
    depth: int | None = 1
    key: object = field(default_factory=new_key)
    certificate: x509.Certificate = None

    def __post_init__(self) -> None:
        parent = self.issuer or self
        made = (
            builder(
                subject(self.name),
                self.issuer.certificate.subject if self.issuer else subject(self.name),
                self.key,
                self.start,
                self.end,
            )
            .add_extension(x509.BasicConstraints(True, self.depth), critical=True)
            .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(authority_key_id(parent.key), critical=False)
        )
        if self.usage:
            made = made.add_extension(x509.ExtendedKeyUsage(list(self.usage)), critical=False)
        self.certificate = made.sign(parent.key, SHA256)

    def leaf(
        self,
        *names: str,
        start: datetime,
        end: datetime,
        usage=Usage.CODE_SIGNING,
        signing: bool = True,
        key=None,
    ):
        """Issue a certificate for signing; e-mail addresses and URIs become alternative names."""
        key = key or new_key()
        made = builder(subject("leaf"), self.certificate.subject, key, start, end)
        made = made.add_extension(
            key_usage(digital_signature=signing, key_agreement=not signing), critical=True
        ).add_extension(authority_key_id(self.key), critical=False)
        if usage is not None:
            made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            made = made.add_extension(
                x509.SubjectAlternativeName([general_name(n) for n in names]), critical=False
            )
        return key, made.sign(self.key, SHA256)

    def crl(self, *revoked, at: datetime, days: int = 30, key=None, extension=None) -> bytes:
        """Return a revocation list in DER; `revoked` are (certificate, date) pairs."""
        made = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(at - timedelta(days=60))
            .next_update(at + timedelta(days=days))
        )
        if extension is not None:
            made = made.add_extension(extension, critical=True)
        for certificate, date in revoked:
            made = made.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(date)
                .build()
            )
        return made.sign(key or self.key, SHA256).public_bytes(Encoding.DER)


def general_name(text: str):
    if "://" in text:
        return x509.UniformResourceIdentifier(text)
    return x509.RFC822Name(text)


# --- DER, as much as a timestamp token needs


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + body


def seq(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


def set_of(*parts: bytes) -> bytes:
    return tlv(0x31, *sorted(parts))


def integer(value: int) -> bytes:
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1))


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    body = bytes([first * 40 + second])
    for arc in rest:
        digits = [arc & 127]
        while arc := arc >> 7:
            digits.append(128 | arc & 127)
        body += bytes(reversed(digits))
    return tlv(6, body)


def octets(data: bytes) -> bytes:
    return tlv(4, data)


SHA256_ID = seq(oid("2.16.840.1.101.3.4.2.1"))
ECDSA_SHA256_ID = seq(oid("1.2.840.10045.4.3.2"))
TST_INFO = oid("1.2.840.113549.1.9.16.1.4")


@dataclass
class Timestamper:
    """An RFC 3161 authority: a root and a signer for time stamping."""

    start: datetime
    end: datetime
    name: str = "tsa"

    def __post_init__(self) -> None:
        self.root = CA(f"{self.name} root", self.start, self.end)
        self.key = new_key()
        self.certificate = (
            builder(
                subject(self.name), self.root.certificate.subject, self.key, self.start, self.end
            )
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([Usage.TIME_STAMPING]), critical=True)
            .add_extension(authority_key_id(self.root.key), critical=False)
            .sign(self.root.key, SHA256)
        )

    @property
    def chain(self) -> list[x509.Certificate]:
        return [self.certificate, self.root.certificate]

    @property
    def pem(self) -> bytes:
        return b"".join(c.public_bytes(Encoding.PEM) for c in self.chain)

    def stamp(self, message: bytes, at: datetime, nonce: int | None = None) -> bytes:
        """Return a response over `message` that says `at`."""
        return self.stamp_digest(hashlib.sha256(message).digest(), at, nonce)

    def stamp_digest(self, digest: bytes, at: datetime, nonce: int | None = None) -> bytes:
        """The same for somebody who sends the SHA-256 alone."""
        info = seq(
            integer(1),
            oid("1.3.6.1.4.1.57264.2"),
            seq(SHA256_ID, octets(digest)),
            integer(int.from_bytes(os.urandom(8)) >> 1),
            tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").encode()),
            seq(integer(1)),
            *([integer(nonce)] if nonce is not None else []),
        )
        ess = seq(seq(seq(octets(hashlib.sha256(der(self.certificate)).digest()))))
        attributes = [
            seq(oid("1.2.840.113549.1.9.3"), set_of(TST_INFO)),
            seq(oid("1.2.840.113549.1.9.4"), set_of(octets(hashlib.sha256(info).digest()))),
            seq(oid("1.2.840.113549.1.9.16.2.47"), set_of(ess)),
        ]
        signed = set_of(*attributes)
        signer = seq(
            integer(1),
            seq(
                self.certificate.issuer.public_bytes(),
                integer(self.certificate.serial_number),
            ),
            SHA256_ID,
            bytes([0xA0]) + signed[1:],
            ECDSA_SHA256_ID,
            octets(sign(self.key, signed)),
        )
        content = seq(
            integer(3),
            set_of(SHA256_ID),
            seq(TST_INFO, tlv(0xA0, octets(info))),
            tlv(0xA0, der(self.certificate)),
            set_of(signer),
        )
        token = seq(oid("1.2.840.113549.1.7.2"), tlv(0xA0, content))
        return seq(seq(integer(0)), token)


class Log:
    """A transparency log as Rekor keeps it."""

    origin = "log.pratique.test"

    def __init__(self) -> None:
        self.key = new_key()
        self.leaves: list[bytes] = []

    @property
    def log_id(self) -> bytes:
        return hashlib.sha256(spki(self.key)).digest()

    def root(self, leaves) -> bytes:
        if len(leaves) == 1:
            return leaves[0]
        split = 1 << ((len(leaves) - 1).bit_length() - 1)
        inner = self.root(leaves[:split]) + self.root(leaves[split:])
        return hashlib.sha256(b"\1" + inner).digest()

    def path(self, index: int, leaves) -> list[bytes]:
        if len(leaves) == 1:
            return []
        split = 1 << ((len(leaves) - 1).bit_length() - 1)
        if index < split:
            return [*self.path(index, leaves[:split]), self.root(leaves[split:])]
        return [*self.path(index - split, leaves[split:]), self.root(leaves[:split])]

    def checkpoint(self) -> str:
        note = f"{self.origin}\n{len(self.leaves)}\n{b64(self.root(self.leaves))}\n"
        signature = b64(self.log_id[:4] + sign(self.key, note.encode()))
        return f"{note}\n\u2014 {self.origin} {signature}\n"

    def add(self, body: bytes, kind: str, version: str, integrated: int | None) -> dict:
        self.leaves.append(hashlib.sha256(b"\0" + body).digest())
        index = len(self.leaves) - 1
        self.leaves += [os.urandom(32) for _ in range(2)]
        entry = {
            "logIndex": str(index),
            "logId": {"keyId": b64(self.log_id)},
            "kindVersion": {"kind": kind, "version": version},
        }
        if integrated is not None:
            promise = {
                "body": b64(body),
                "integratedTime": integrated,
                "logID": self.log_id.hex(),
                "logIndex": index,
            }
            entry["integratedTime"] = str(integrated)
            entry["inclusionPromise"] = {
                "signedEntryTimestamp": b64(sign(self.key, rfc8785.dumps(promise)))
            }
        entry["inclusionProof"] = {
            "logIndex": str(index),
            "rootHash": b64(self.root(self.leaves)),
            "treeSize": str(len(self.leaves)),
            "hashes": [b64(h) for h in self.path(index, self.leaves)],
            "checkpoint": {"envelope": self.checkpoint()},
        }
        entry["canonicalizedBody"] = b64(body)
        return entry


class LocalSigstore:
    """Fulcio, its CT log, Rekor and a timestamp authority around one moment `now`."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or datetime.now(UTC).replace(microsecond=0)
        self.start, self.end = self.now - timedelta(days=30), self.now + timedelta(days=3650)
        self.root = CA("fulcio root", self.start, self.end)
        self.ca = CA(
            "fulcio", self.start, self.end, issuer=self.root, usage=(Usage.CODE_SIGNING,), depth=0
        )
        self.ct_key = new_key()
        self.log = Log()
        self.tsa = Timestamper(self.start, self.end)

    def certificate(self, key, identity: str, issuer: str, at: datetime, minutes: int = 10):
        """Issue a short-lived certificate with an embedded SCT for the public half of `key`."""
        public = key.public_key() if hasattr(key, "public_key") else key
        value = issuer.encode()
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.ca.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - timedelta(minutes=1))
            .not_valid_after(at + timedelta(minutes=minutes))
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([Usage.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(authority_key_id(self.ca.key), critical=False)
            .add_extension(x509.SubjectAlternativeName([general_name(identity)]), critical=True)
            .add_extension(fulcio_extension(1, value), critical=False)
            .add_extension(fulcio_extension(8, tlv(12, value)), critical=False)
        )
        unsigned = made.sign(self.ca.key, SHA256).tbs_certificate_bytes
        sct = self._sct(unsigned, at)
        listed = struct.pack("!H", len(sct)) + sct
        extension = octets(struct.pack("!H", len(listed)) + listed)
        return made.add_extension(
            x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), extension),
            critical=False,
        ).sign(self.ca.key, SHA256)

    def _sct(self, unsigned: bytes, at: datetime) -> bytes:
        millis = int(at.timestamp() * 1000)
        issuer = hashlib.sha256(spki(self.ca.key)).digest()
        entry = issuer + struct.pack("!I", len(unsigned))[1:] + unsigned
        data = struct.pack("!BBQH", 0, 0, millis, 1) + entry + struct.pack("!H", 0)
        signature = sign(self.ct_key, data)
        log_id = hashlib.sha256(spki(self.ct_key)).digest()
        head = b"\0" + log_id + struct.pack("!QH", millis, 0)
        return head + bytes([4, 3]) + struct.pack("!H", len(signature)) + signature

    def trusted_root(self) -> dict:
        period = {"start": self.start.strftime("%Y-%m-%dT%H:%M:%SZ")}

        def log(key) -> dict:
            return {
                "baseUrl": "https://log.pratique.test",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": b64(spki(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": dict(period),
                },
                "logId": {"keyId": b64(hashlib.sha256(spki(key)).digest())},
            }

        def authority(chain) -> dict:
            return {
                "subject": {"organization": "pratique tests", "commonName": "authority"},
                "uri": "https://ca.pratique.test",
                "certChain": {"certificates": [{"rawBytes": b64(der(c))} for c in chain]},
                "validFor": dict(period),
            }

        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.log.key)],
            "certificateAuthorities": [authority([self.ca.certificate, self.root.certificate])],
            "ctlogs": [log(self.ct_key)],
            "timestampAuthorities": [authority(self.tsa.chain)],
        }

    def trust_config(self, url: str = "http://127.0.0.1:1", *, rekor: int = 1) -> dict:
        """Return a client configuration whose services all lie at `url`."""
        period = {"start": self.start.strftime("%Y-%m-%dT%H:%M:%SZ")}

        def service(path: str, version: int) -> dict:
            return {
                "url": url + path,
                "majorApiVersion": version,
                "validFor": period,
                "operator": "pratique tests",
            }

        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.trusted_root(),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service("", 1)],
                "oidcUrls": [service("", 1)],
                "rekorTlogUrls": [service("", rekor)],
                "tsaUrls": [service("/timestamp", 1)] if rekor == 2 else [],
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaConfig": {"selector": "ANY"},
            },
        }

    def sign(
        self,
        payload: bytes,
        identity: str,
        issuer: str,
        *,
        rekor: int = 1,
        at: datetime | None = None,
        kind: str = IN_TOTO,
        logged_at: datetime | None = None,
    ) -> dict:
        """Return a bundle over `payload`, by way of Rekor version 1 or 2."""
        at = at or self.now
        key = new_key()
        certificate = self.certificate(key, identity, issuer, at)
        signature = sign(key, pae(payload, kind))
        envelope = {
            "payload": b64(payload),
            "payloadType": kind,
            "signatures": [{"sig": b64(signature)}],
        }
        material: dict = {"certificate": {"rawBytes": b64(der(certificate))}}
        logged = logged_at or at + timedelta(seconds=1)
        if rekor == 1:
            entry = self._entry_v1(envelope, payload, signature, certificate, logged)
            material["tlogEntries"] = [entry]
        else:
            material["tlogEntries"] = [self._entry_v2(payload, kind, signature, certificate)]
            stamp = {"signedTimestamp": b64(self.tsa.stamp(signature, logged))}
            material["timestampVerificationData"] = {"rfc3161Timestamps": [stamp]}
        return {"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}

    def _entry_v1(self, envelope, payload, signature, certificate, logged) -> dict:
        digest = hashlib.sha256(json.dumps(envelope).encode()).hexdigest()
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": digest},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [
                {
                    "signature": b64(signature),
                    "verifier": b64(certificate.public_bytes(Encoding.PEM)),
                }
            ],
        }
        body = rfc8785.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        return self.log.add(body, "dsse", "0.0.1", int(logged.timestamp()))

    def _entry_v2(self, payload, kind, signature, certificate) -> dict:
        digest = hashlib.sha256(pae(payload, kind)).digest()
        verifier = {
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "x509Certificate": {"rawBytes": b64(der(certificate))},
        }
        spec = {
            "hashedRekordV002": {
                "data": {"algorithm": "SHA2_256", "digest": b64(digest)},
                "signature": {"content": b64(signature), "verifier": verifier},
            }
        }
        body = rfc8785.dumps({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec})
        return self.log.add(body, "hashedrekord", "0.0.2", None)


class SigstoreServer:
    """A LocalSigstore over loopback HTTP: Fulcio v2, Rekor v2 and a timestamp authority.

    `broken` names a path whose answer is an error.
    """

    def __init__(self, sigstore: LocalSigstore, broken: str = "") -> None:
        self.sigstore = sigstore
        self.broken = broken
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.broken and self.path.endswith(outer.broken):
                    self.send_error(500)
                    return
                status, kind, data = outer.answer(self.path, body, self.headers)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> "SigstoreServer":
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, path: str, body: bytes, headers) -> tuple[int, str, bytes]:
        if path.endswith("/signingCert"):
            return 201, "application/json", self._certificate(body, headers)
        if path.endswith("/log/entries"):
            request = json.loads(body)["hashedRekordRequestV002"]
            spec = {
                "hashedRekordV002": {
                    "data": {"algorithm": "SHA2_256", "digest": request["digest"]},
                    "signature": request["signature"],
                }
            }
            entry = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec}
            logged = self.sigstore.log.add(rfc8785.dumps(entry), "hashedrekord", "0.0.2", None)
            return 201, "application/json", json.dumps(logged).encode()
        return 200, "application/timestamp-reply", self._timestamp(body)

    def _certificate(self, body: bytes, headers) -> bytes:
        claims = headers["Authorization"].split(".")[1]
        identity = json.loads(base64.urlsafe_b64decode(claims + "=="))
        request = x509.load_pem_x509_csr(
            base64.b64decode(json.loads(body)["certificateSigningRequest"])
        )
        leaf = self.sigstore.certificate(
            request.public_key(), identity["sub"], identity["iss"], datetime.now(UTC)
        )
        chain = (leaf, self.sigstore.ca.certificate, self.sigstore.root.certificate)
        pems = [c.public_bytes(Encoding.PEM).decode() for c in chain]
        return json.dumps(
            {"signedCertificateEmbeddedSct": {"chain": {"certificates": pems}}}
        ).encode()

    def _timestamp(self, body: bytes) -> bytes:
        # TimeStampReq: version, imprint (algorithm, digest), nonce, certReq; SHA-256 alone is offered
        at = body.index(octets(b"")[:1] + bytes([32])) + 2
        digest = body[at : at + 32]
        nonce_at = at + 32
        nonce = int.from_bytes(body[nonce_at + 2 : nonce_at + 2 + body[nonce_at + 1]])
        return self.sigstore.tsa.stamp_digest(
            digest, datetime.now(UTC).replace(microsecond=0), nonce
        )


def identity_token(
    identity: str, issuer: str, *, lifetime: int = 600, audience: str = "sigstore"
) -> str:
    """Return an unsigned JWT, as an identity provider would issue it signed."""
    now = int(datetime.now(UTC).timestamp())
    claims = {
        "aud": audience,
        "sub": identity,
        "iss": issuer,
        "iat": now,
        "exp": now + lifetime,
    }
    parts = ({"alg": "none", "typ": "JWT"}, claims, "signature")
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts
    )


def fulcio_extension(arc: int, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{arc}"), value)


def dumps(bundle: dict) -> bytes:
    """Write a bundle as sigstore-python does."""
    return json.dumps(bundle, separators=(",", ":"), ensure_ascii=False).encode()
