"""The words of trust: who, in which role, for what, until when. Values only, nothing is checked here.

An `Identity` is what a credential says; a *person* is whom the trust root says it belongs to. Only
people count towards a threshold, so that somebody with two keys is still one person.
"""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pratique.core.findings import PolicyRef
from pratique.core.ids import BundleId
from pratique.core.policy import Allowance, RungName

ANY: Final = "*"
"""In a scope: every enclave (or every use) that trusts the signer."""


class Role(enum.StrEnum):
    """What somebody may sign."""

    VETTER = "vetter"
    """Signs model bundles' payloads."""
    APPROVER = "approver"
    """Signs approvals of model bundles."""
    RUNTIME = "runtime"
    """Signs bundles that carry the tool itself. Who may sign models may not replace the tool."""


class Method(enum.StrEnum):
    """How a signature is tied to somebody."""

    KEY = "key"
    CERTIFICATE = "certificate"
    SIGSTORE = "sigstore"


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """What a credential says of its holder.

    `subject` is the key id for method key (hex SHA-256 of the public PEM), else the e-mail address
    or URI in the certificate. `issuer` is the OpenID issuer, for method sigstore only.
    """

    method: Method
    subject: str
    issuer: str = ""

    def __str__(self) -> str:
        if self.method is Method.KEY:
            return f"key {self.subject[:16]}"
        return f"{self.subject} ({self.issuer})" if self.issuer else self.subject


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an approval holds. `enclave` is an enclave id or ANY; `use` is free text or ANY."""

    enclave: str = ANY
    use: str = ANY


@dataclass(frozen=True, slots=True)
class Approval:
    """What an approver signs about one bundle. Times are in UTC, whole seconds.

    `allowances` are the policy's exceptions that the verdict rests on and the approver accepts;
    `rungs` and `variants` are all that may be served under this approval. `variants` names the
    quantised copies beside the original, which is always permitted.
    """

    bundle_id: BundleId
    name: str
    policy: PolicyRef
    issued: datetime
    expires: datetime
    reason: str
    allowances: tuple[Allowance, ...] = ()
    rungs: tuple[RungName, ...] = ("auto", "device_map", "int8", "nf4")
    variants: tuple[str, ...] = ()
    scope: Scope = Scope()


@dataclass(frozen=True, slots=True)
class SignedBy:
    """One signature that was verified.

    `person` is the trust root's name for the holder of `identity`. `signed_at` is the time that an
    authority vouches for (RFC 3161 timestamp or transparency log), or None: the signer's own clock
    proves nothing. `void` says why the signature does not count (expired, revoked), else "". `key_id`
    is the key that made it, whatever vouches for that key; None for the passing keys of Sigstore.
    """

    file: str
    role: Role
    person: str
    identity: Identity
    signed_at: datetime | None = None
    void: str = ""
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class SignedApproval:
    """An approval and who signed it."""

    signer: SignedBy
    approval: Approval


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a verification, for people and for `verify --json`."""

    name: str
    detail: str
