"""A policy: what a team lets in, and which exceptions it answers for.

A policy can only ask for more than the gate's floor, or answer for what the gate marks `approve`.
Nothing in it turns a `refuse` into a pass. Unknown keys are errors: a misspelt rule is no rule.
"""

import hashlib
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pratique.core.foreign import FOREIGN_CODE, Pin, parse_pin
from pratique.core.ids import Digest, parse_commit, parse_digest, parse_repo_id
from pratique.errors import FormatError

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)


def _checked(parse: Callable[[str], str]) -> AfterValidator:
    """`parse` as pydantic wants it: its refusals become validation errors, which have a place."""

    def check(text: str) -> str:
        try:
            return parse(text)
        except FormatError as error:
            raise ValueError(error.message) from error

    return AfterValidator(check)


DigestText = Annotated[str, _checked(parse_digest)]
CommitText = Annotated[str, _checked(parse_commit)]
RepoText = Annotated[str, _checked(parse_repo_id)]
PinText = Annotated[str, _checked(lambda text: parse_pin(text).text)]

RungName = Literal["auto", "device_map", "int8", "nf4"]


def _digest_of_pin(found: dict[str, Any]) -> str:
    """A pin is its own digest; without one the digest must be said, and "" is none."""
    pin = found.get("foreign")
    return "" if pin is None else parse_pin(pin).digest


def _digest_or_pin(schema: dict[str, Any]) -> None:
    """One of them must stand there."""
    schema["anyOf"] = [{"required": ["digest"]}, {"required": ["foreign"]}]


class Allowance(BaseModel):
    """One exception somebody answers for: what, which bytes, why, who, until when.

    It matches a finding only if the check id and the digest are the same, and repository, commit
    and path are, where given. A changed byte changes the digest and so voids it. Code of another
    repository is allowed by naming that repository at one commit: `foreign`, and then the digest
    is of that text.
    """

    model_config = ConfigDict(**_STRICT, json_schema_extra=_digest_or_pin)

    check: str = Field(min_length=1, description="id of the check whose finding is answered for")
    foreign: PinText | None = Field(
        default=None,
        description="for check foreign-code, instead of a digest: ORG/NAME@COMMIT, the other "
        "repository whose code may be taken",
    )
    digest: DigestText = Field(
        default_factory=_digest_of_pin,
        description="SHA-256 of the file or value, as the finding shows it",
    )
    reason: str = Field(min_length=8, description="why this is acceptable, for the auditor")
    owner: str = Field(min_length=1, description="who answers for it")
    expires: date = Field(description="last day on which it holds")
    repo: RepoText | None = Field(default=None, description="only for this repository")
    commit: CommitText | None = Field(default=None, description="only for this commit")
    path: str | None = Field(default=None, description="only for this file")

    @property
    def answer(self) -> str:
        """How a finding that this answers for says so: why, and who."""
        return f"{self.reason} ({self.owner})"

    @property
    def pin(self) -> Pin | None:
        """The other repository's commit that this names, if it does."""
        return None if self.foreign is None else parse_pin(self.foreign)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if not self.digest:
            raise ValueError("digest: Field required")
        if (self.check == FOREIGN_CODE) != (self.foreign is not None):
            raise ValueError(f"check {FOREIGN_CODE} and `foreign` go together")
        if self.pin is not None and self.digest != self.pin.digest:
            raise ValueError("the digest is not that of `foreign`: leave it out")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_new(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Policies and approvals that name no pin keep the bytes, and the digest, that they had."""
        value: dict[str, Any] = write(self)
        if self.foreign is None:
            value.pop("foreign", None)
        return value


class FetchRules(BaseModel):
    """What `fetch` insists on."""

    model_config = _STRICT

    commit_proof: Literal["required", "reported"] = "required"
    renamed_repositories: Literal["refuse", "accept"] = "refuse"
    max_file_bytes: int = Field(default=200 * 2**30, gt=0)
    max_total_bytes: int = Field(default=2 * 2**40, gt=0)
    commit_signing_keys: tuple[str, ...] = Field(
        default=(),
        description="SSH public keys (authorized_keys form) whose commit signatures count",
    )
    redirect_hosts: tuple[str, ...] = Field(
        default=(),
        description="hosts, beside the endpoint's own, from which a Hub may have file content "
        "fetched; `*.example.com` stands for every host below example.com",
    )


class LicenceRules(BaseModel):
    """Which licences pass without an allowance, by SPDX or ScanCode id or by category."""

    model_config = _STRICT

    allow_categories: tuple[str, ...] = ("Permissive", "Public Domain")
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class VetRules(BaseModel):
    """How deep the gate looks beyond its floor."""

    model_config = _STRICT

    scan_nan: bool = Field(default=False, description="look for NaN and infinity in every tensor")
    second_opinions: tuple[Literal["modelaudit", "picklescan"], ...] = ()


class ServeRules(BaseModel):
    """What the runtime may do."""

    model_config = _STRICT

    rungs: tuple[RungName, ...] = Field(default=("auto", "device_map", "int8", "nf4"), min_length=1)
    lock: Literal["strict", "reduced"] = Field(
        default="strict",
        description="`reduced` runs, with a warning and a record, where the host forbids user "
        "namespaces; seccomp is always required",
    )
    weights: Literal["store", "sealed-copy"] = Field(
        default="store",
        description="`sealed-copy` loads every model from a copy in memory that nobody can write to; "
        "`store` loads in place, and ends when somebody writes to a file",
    )
    text_logging: Literal["off", "redacted"] = "off"
    prompt_fingerprint: Literal["off", "keyed"] = Field(
        default="off",
        description="`keyed` writes an HMAC of each prompt to the ledger, under a key of this home",
    )
    escrow: tuple[str, ...] = Field(
        default=(),
        description="age recipients (age1…) of auditors elsewhere: the redacted text is encrypted to "
        "them, and nobody on this host can read it",
    )

    @model_serializer(mode="wrap")
    def _without_what_is_new(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Policies that say nothing of weights keep the digest that they had."""
        value: dict[str, Any] = write(self)
        if self.weights == "store":
            value.pop("weights", None)
        return value


class TrustRules(BaseModel):
    """How old the installed trust may be, and how approvals are bound."""

    model_config = _STRICT

    max_trust_age_days: int = Field(default=400, gt=0)
    max_approval_days: int = Field(default=366, gt=0)


class Policy(BaseModel):
    """A whole policy file, `schema = "pratique.policy/v1"`."""

    model_config = _STRICT

    schema_: Literal["pratique.policy/v1"] = Field(alias="schema")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    description: str = ""
    crypto: Literal["default", "fips"] = "default"
    fetch: FetchRules = FetchRules()
    vet: VetRules = VetRules()
    licences: LicenceRules = LicenceRules()
    serve: ServeRules = ServeRules()
    trust: TrustRules = TrustRules()
    allow: tuple[Allowance, ...] = ()

    @property
    def canonical(self) -> bytes:
        """The policy's meaning as bytes: what its digest covers (comments and layout are not)."""
        return self.model_dump_json(by_alias=True).encode()

    @property
    def digest(self) -> Digest:
        """SHA-256 of `canonical`."""
        return Digest(hashlib.sha256(self.canonical).hexdigest())
