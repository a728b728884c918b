"""People, a trust set and an enclave that installed it: what tests of signatures start from."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pratique.attest.install import install, installed_trust
from pratique.attest.keys import KeySigner, generate_key, load_signer, parse_public_key
from pratique.attest.repository import Admins, Repository
from pratique.attest.sign import sign_approval, sign_payload
from pratique.attest.trustfile import (
    Person,
    Revocation,
    Revocations,
    RoleRule,
    SigningRules,
    SigstoreAccount,
    TrustFile,
    read_trust,
    write_revocations,
    write_trust,
)
from pratique.attest.trustroot import TrustRoot
from pratique.attest.values import Approval, Role, Scope
from pratique.attest.verify import VerifiedStatement, verify_signatures
from pratique.core.findings import PolicyRef
from pratique.core.ids import BundleId, Digest, RelPath

ENCLAVE = "harbour"
POLICY = PolicyRef("strict", Digest("ab" * 32))
SUMS = Digest("5a" * 32)
FILES = (
    (RelPath("SHA256SUMS"), SUMS),
    (RelPath("bundle.json"), Digest("11" * 32)),
    (RelPath("model/config.json"), Digest("22" * 32)),
    (RelPath("model/model.safetensors"), Digest("33" * 32)),
)


def digest(letter: str) -> str:
    return letter * 64


@pytest.fixture(autouse=True)
def disk_without_waiting(monkeypatch):
    """Import it where many sets are written: power cuts are not what those tests are about."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@dataclass
class Kit:
    """A directory with keys by name, one trust set, one enclave home."""

    root: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    signers: dict[str, KeySigner] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def set(self) -> Repository:
        return Repository(self.root / "set")

    def signer(self, name: str, algorithm: str = "p256") -> KeySigner:
        if name not in self.signers:
            generate_key(self.root / name, algorithm)
            self.signers[name] = load_signer(self.root / f"{name}.key")
        return self.signers[name]

    def pem(self, name: str) -> str:
        return self.signer(name).public_pem.decode()

    def public(self, name: str):
        return parse_public_key(self.signer(name).public_pem)

    def trust_file(self, **changes) -> TrustFile:
        """Ann vets, bea and cy approve (one suffices); dan holds a key and no role."""
        fields = {
            "schema": "pratique.trust/v1",
            "enclave": ENCLAVE,
            "issued": self.now - timedelta(days=1),
            "people": tuple(
                Person(name=n, keys=(self.pem(n),)) for n in ("ann", "bea", "cy", "dan", "eve")
            ),
            "roles": {
                Role.VETTER: RoleRule(holders=("ann", "eve"), threshold=1),
                Role.APPROVER: RoleRule(holders=("bea", "cy", "ann"), threshold=1),
                Role.RUNTIME: RoleRule(holders=("eve",), threshold=1),
            },
        }
        return TrustFile.model_validate({**fields, **changes})

    def init(self, trust: TrustFile | None = None, files: dict[str, bytes] | None = None, **admins):
        """Make and sign the set; `admin` and `admin2` own it, one suffices."""
        owners = Admins(
            (self.public("admin"), self.public("admin2")),
            admins.get("threshold", 1),
            tuple(self.public(n) for n in admins.get("revokers", ())),
        )
        signers = [self.signer("admin"), self.signer("admin2")][: owners.threshold]
        signers += [self.signer(n) for n in admins.get("revokers", ())]
        self.set.init(trust or self.trust_file(), owners, signers, self.now)
        if files:
            self.change(lambda old: {**old, **files})
        return self

    def change(self, edit: Callable[[dict[str, bytes]], dict[str, bytes]], *names: str) -> None:
        self.set.change(edit, [self.signer(n) for n in names or ("admin",)], self.now)

    def change_trust(self, **changes) -> None:
        """Change fields of trust.toml."""

        def edit(old):
            trust = read_trust(old["trust.toml"])
            fields = {n: getattr(trust, n) for n in TrustFile.model_fields if n != "schema_"}
            new = TrustFile.model_validate({"schema": "pratique.trust/v1", **fields, **changes})
            return {**old, "trust.toml": write_trust(new)}

        self.change(edit)

    def revoke(self, kind: str, name: str, *, at: datetime | None = None) -> None:
        entry = Revocation(kind=kind, id=name, reason="lost in a test", at=at or self.now)
        lists = Revocations(schema="pratique.revocations/v1", revoked=(entry,))
        self.change(lambda old: {**old, "revocations.json": write_revocations(lists)})

    def install(self, medium: Path | None = None) -> TrustRoot:
        return install(
            self.home, medium or self.set.directory, now=self.now, confirm=lambda seen: seen
        )

    def trust(self) -> TrustRoot:
        return installed_trust(self.home)

    def payload(self, name: str = "ann", files=FILES) -> bytes:
        return sign_payload(files, self.signer(name))

    def approval(self, **changes) -> Approval:
        fields = {
            "bundle_id": BundleId(SUMS),
            "name": "tiny@12345678",
            "policy": POLICY,
            "issued": self.now - timedelta(hours=1),
            "expires": self.now + timedelta(days=90),
            "reason": "read the report, asked two questions",
            "scope": Scope(ENCLAVE, "*"),
        }
        return Approval(**{**fields, **changes})

    def approve(self, name: str = "bea", **changes) -> bytes:
        return sign_approval(self.approval(**changes), self.signer(name))

    def good(self) -> dict[str, bytes]:
        return {"vetter.sig": self.payload(), "approver.sig": self.approve()}

    def verify(self, signatures: dict[str, bytes], **options) -> VerifiedStatement:
        trust = options.pop("trust", None) or self.trust()
        return verify_signatures(
            signatures, trust=trust, now=options.pop("now", self.now), **options
        )


__all__ = [
    "ENCLAVE",
    "FILES",
    "Kit",
    "Person",
    "RoleRule",
    "SigningRules",
    "SigstoreAccount",
    "digest",
    "disk_without_waiting",
]
