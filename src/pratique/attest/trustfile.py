"""What a trust root says, as files: `trust.toml` (who may sign what) and `revocations.json`.

Both are read strictly: unknown keys, holders nobody described, a credential that two people share,
a threshold nobody can reach are refused. An approver threshold of 0 holds only where the file says
`single_person = true`. These files are trusted because TUF metadata vouches for their bytes
(see `tufset`), never because of where they lie.
"""

import json
import tomllib
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pratique.attest import canonical
from pratique.attest.keys import key_id_of, parse_public_key
from pratique.attest.values import Identity, Method, Role
from pratique.core.ids import parse_digest
from pratique.errors import FormatError

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
MAX_TRUST_BYTES: Final = 1024 * 1024
MAX_REVOCATION_BYTES: Final = 16 * 1024 * 1024


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be plain text on one line")
    return text


def _utc(when: datetime) -> datetime:
    if when.tzinfo is None or when.microsecond:
        raise ValueError("must be a time with a zone, in whole seconds")
    return when.astimezone(UTC)


def _pem(text: str) -> str:
    parse_public_key(text.encode())
    return text


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$")]
Line = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_plain)]
Time = Annotated[datetime, AfterValidator(_utc)]
Pem = Annotated[str, AfterValidator(_pem)]
DigestText = Annotated[str, AfterValidator(parse_digest)]


class SigstoreAccount(BaseModel):
    """An identity as an OpenID issuer states it, in a Sigstore certificate."""

    model_config = _STRICT

    subject: Line = Field(description="e-mail address or URI in the certificate")
    issuer: Line = Field(description="URL of the OpenID issuer")


class Person(BaseModel):
    """One human being (or one machine that answers for itself) and all their credentials."""

    model_config = _STRICT

    name: Name
    keys: tuple[Pem, ...] = Field(default=(), description="public keys in PEM")
    certificates: tuple[Line, ...] = Field(
        default=(),
        description="e-mail addresses or URIs in certificates of the carried authorities",
    )
    sigstore: tuple[SigstoreAccount, ...] = ()

    @property
    def identities(self) -> tuple[Identity, ...]:
        """All credentials."""
        return (
            *(Identity(Method.KEY, key_id_of(pem.encode())) for pem in self.keys),
            *(Identity(Method.CERTIFICATE, subject) for subject in self.certificates),
            *(Identity(Method.SIGSTORE, a.subject, a.issuer) for a in self.sigstore),
        )


class RoleRule(BaseModel):
    """Who may act in a role, and how many of them it takes."""

    model_config = _STRICT

    holders: tuple[Name, ...] = ()
    threshold: int = Field(ge=0, le=9)


class SigningRules(BaseModel):
    """What the enclave asks of signatures beyond being valid."""

    model_config = _STRICT

    timestamps: Literal["optional", "required"] = "optional"
    enclave_scope: Literal["optional", "required"] = Field(
        default="optional",
        description="`required`: an approval must name this enclave; one for every enclave is refused",
    )
    policies: tuple[DigestText, ...] = Field(
        default=(), description="digests of policies an approval may name; empty: any"
    )


class TrustFile(BaseModel):
    """`trust.toml`, `schema = "pratique.trust/v1"`."""

    model_config = _STRICT

    schema_: Literal["pratique.trust/v1"] = Field(alias="schema")
    enclave: Name
    issued: Time
    single_person: bool = False
    people: tuple[Person, ...] = Field(min_length=1)
    roles: dict[Role, RoleRule]
    rules: SigningRules = SigningRules()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [p.name for p in self.people]
        if len({n.casefold() for n in names}) != len(names):
            raise ValueError("two people have the same name")
        identities = [i for p in self.people for i in p.identities]
        if len(set(identities)) != len(identities):
            raise ValueError("two people share a credential, or one has it twice")
        for needed in (Role.VETTER, Role.APPROVER):
            if needed not in self.roles:
                raise ValueError(f"the role {needed} is missing")
        for role, rule in self.roles.items():
            _check_role(role, rule, names, single_person=self.single_person)
        return self


def _check_role(role: Role, rule: RoleRule, names: list[str], *, single_person: bool) -> None:
    if len(set(rule.holders)) != len(rule.holders):
        raise ValueError(f"the role {role} names somebody twice")
    if unknown := [h for h in rule.holders if h not in names]:
        raise ValueError(f"the role {role} names {unknown[0]}, who is not among the people")
    if rule.threshold > len(rule.holders):
        raise ValueError(f"the role {role} needs more people than hold it")
    if rule.threshold == 0 and role is not Role.APPROVER:
        raise ValueError(f"the role {role} has threshold 0")
    if (rule.threshold == 0) != single_person and role is Role.APPROVER:
        raise ValueError("approver threshold 0 and `single_person = true` belong together")


class Revocation(BaseModel):
    """One thing no longer trusted. `at`: signatures shown to be older than this still stand."""

    model_config = _STRICT

    kind: Literal["bundle", "key", "identity", "model"]
    id: Line = Field(
        description="bundle id, key id, person or e-mail address, or SHA-256 of a model's file"
    )
    reason: Line
    at: Time

    @model_validator(mode="after")
    def _form(self) -> Self:
        if self.kind != "identity":
            parse_digest(self.id)
        return self


def revocation_key(kind: str, name: str) -> tuple[str, str]:
    """Return what a revocation is known by. People are known by any spelling of their name.

    Capitals, spaces around and Unicode form do not count: a revocation that somebody typed in haste
    must not miss. Names of people are distinct beyond that (`TrustFile`).
    """
    if kind != "identity":
        return kind, name
    return kind, unicodedata.normalize("NFKC", name).strip().casefold()


class Revocations(BaseModel):
    """`revocations.json`. `lifted` undoes emergency revocations made before its time."""

    model_config = _STRICT

    schema_: Literal["pratique.revocations/v1"] = Field(alias="schema")
    revoked: tuple[Revocation, ...] = ()
    lifted: tuple[Revocation, ...] = ()


def read_trust(data: bytes) -> TrustFile:
    """Parse `trust.toml`. Raises FormatError saying what is wrong and where."""
    if len(data) > MAX_TRUST_BYTES:
        raise FormatError("trust.toml is too large")
    try:
        raw = tomllib.loads(data.decode("utf-8"))
        # Strict mode takes tuples and times from JSON, not from the lists and datetimes of TOML.
        as_json = json.dumps(raw, default=_iso)
    except (ValueError, TypeError, RecursionError) as error:
        raise FormatError("trust.toml is not valid TOML") from error
    try:
        return TrustFile.model_validate_json(as_json)
    except ValidationError as error:
        raise FormatError(f"trust.toml: {first_problem(error)}") from error


def read_revocations(data: bytes, what: str = "revocations.json") -> Revocations:
    """Parse a canonical revocation list. Raises FormatError."""
    if len(data) > MAX_REVOCATION_BYTES:
        raise FormatError(f"{what} is too large")
    canonical.parse(data, what)
    try:
        return Revocations.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(f"{what}: {first_problem(error)}") from error


def write_revocations(value: Revocations) -> bytes:
    """Write a revocation list in its canonical form."""
    return canonical.dump(value.model_dump(mode="json", by_alias=True))


def write_trust(value: TrustFile) -> bytes:
    """Write `trust.toml` so that `read_trust` gives the same value back."""
    lines = [
        "# Who may sign for this enclave. Change it with `pratique trust`, which signs it again.",
        f'schema = "{value.schema_}"',
        f"enclave = {_quoted(value.enclave)}",
        f"issued = {value.issued.strftime('%Y-%m-%dT%H:%M:%SZ')}",
        f"single_person = {str(value.single_person).lower()}",
    ]
    for role, rule in value.roles.items():
        lines += ["", f"[roles.{role}]", f"holders = {_quoted_list(rule.holders)}"]
        lines += [f"threshold = {rule.threshold}"]
    lines += [
        "",
        "[rules]",
        f"timestamps = {_quoted(value.rules.timestamps)}",
        f"enclave_scope = {_quoted(value.rules.enclave_scope)}",
        f"policies = {_quoted_list(value.rules.policies)}",
    ]
    for person in value.people:
        lines += ["", "[[people]]", f"name = {_quoted(person.name)}"]
        lines += [f"keys = {_quoted_list(person.keys)}"]
        lines += [f"certificates = {_quoted_list(person.certificates)}"]
        for account in person.sigstore:
            lines += ["", "[[people.sigstore]]", f"subject = {_quoted(account.subject)}"]
            lines += [f"issuer = {_quoted(account.issuer)}"]
    return ("\n".join(lines) + "\n").encode()


def first_problem(error: ValidationError) -> str:
    """Say where the first problem lies and what it is, without echoing foreign values."""
    problem = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    said = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {said}" if where else said


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError


def _quoted(text: str) -> str:
    # JSON's escapes are a subset of TOML's for text without DEL, lone surrogates, escaped non-BMP.
    return json.dumps(text, ensure_ascii=False)


def _quoted_list(texts: tuple[str, ...]) -> str:
    return f"[{', '.join(_quoted(t) for t in texts)}]"
