"""Composing a trust root: one person or a team, and changes to who may do what. Values only."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from pratique.attest.admins import Admins
from pratique.attest.keys import PublicKey, Signer, parse_public_key
from pratique.attest.trustfile import Person, RoleRule, TrustFile, first_problem
from pratique.attest.values import Role
from pratique.errors import UnreadableInput, UsageError

SOLO_PROTECTS = (
    "One person vets, signs and administers. This protects against files altered after sealing, "
    "bundles from anybody else, and old or revoked ones. It does not protect against that person's "
    "mistakes, nor against whoever gets hold of their key."
)
TEAM_PROTECTS = (
    "A model needs a vetter and a different approver; a change of trust needs the administrators' "
    "threshold. One stolen key or one careless person is not enough to bring a model in, as long as "
    "each key stays with its owner."
)

_MORE = (
    "`pratique trust add` with --vetter or --approver FILE.pub names somebody, --threshold asks for "
    "fewer; `trust revoke` stops a person who has to stay named"
)


def solo(*, name: str, enclave: str, signer: Signer, now: datetime) -> tuple[TrustFile, Admins]:
    """Return a root for one person: vetter, runtime and administrator; no approval is needed."""
    trust = _checked(
        enclave=enclave,
        issued=now.replace(microsecond=0),
        single_person=True,
        people=(Person(name=name, keys=(signer.public_pem.decode(),)),),
        roles={
            Role.VETTER: RoleRule(holders=(name,), threshold=1),
            Role.APPROVER: RoleRule(holders=(), threshold=0),
            Role.RUNTIME: RoleRule(holders=(name,), threshold=1),
        },
    )
    return trust, Admins((parse_public_key(signer.public_pem),), 1)


def team(
    *,
    enclave: str,
    holders: Mapping[Role, Sequence[tuple[str, bytes]]],
    thresholds: Mapping[Role, int],
    now: datetime,
) -> TrustFile:
    """Return a root for several people. `holders` gives, by role, names and public PEMs.

    One name with several keys is one person; one key under two names is refused.
    """
    keys: dict[str, list[str]] = {}
    roles: dict[Role, RoleRule] = {}
    for role, named in holders.items():
        for name, pem in named:
            text = pem.decode("ascii", "replace")
            if text not in keys.setdefault(name, []):
                keys[name].append(text)
        names = tuple(dict.fromkeys(name for name, _ in named))
        if names:
            roles[role] = RoleRule(holders=names, threshold=thresholds.get(role, 1))
    for role in (Role.VETTER, Role.APPROVER):
        if role not in roles:
            raise UsageError(
                f"a team needs at least one {role}",
                hint=f"--{role} FILE.pub, or --solo for one person",
            )
    trust = _checked(
        enclave=enclave,
        issued=now.replace(microsecond=0),
        people=tuple(Person(name=n, keys=tuple(k)) for n, k in keys.items()),
        roles=roles,
    )
    enough_people(
        trust, hint="name somebody else as --vetter or --approver, or --solo for one person"
    )
    return trust


def enough_people(trust: TrustFile, *, hint: str = _MORE) -> None:
    """Refuse a root with too few people for the signatures that one model needs.

    Nobody counts in two roles for one bundle, so nothing could be admitted under it. Asked after all
    changes of one command: half of them may well be too few.
    """
    vetter, approver = trust.roles[Role.VETTER], trust.roles[Role.APPROVER]
    needed, people = vetter.threshold + approver.threshold, {*vetter.holders, *approver.holders}
    if len(people) < needed:
        raise UsageError(
            f"a model needs {needed} different people, and this names {len(people)}: "
            "nobody counts as vetter and as approver of one bundle",
            hint=hint,
        )


def with_holder(trust: TrustFile, role: Role, person: Person) -> TrustFile:
    """Return `trust` with `person` (or new credentials of theirs) holding `role`.

    Appointing the first approver of a single person's root makes it a root for two.
    """
    people = {p.name: p for p in trust.people}
    known = people.get(person.name, Person(name=person.name))
    people[person.name] = Person(
        name=person.name,
        keys=_joined(known.keys, person.keys),
        certificates=_joined(known.certificates, person.certificates),
        sigstore=tuple(dict.fromkeys((*known.sigstore, *person.sigstore))),
    )
    rule = trust.roles.get(role, RoleRule(holders=(), threshold=1))
    changed = RoleRule(
        holders=_joined(rule.holders, (person.name,)), threshold=max(rule.threshold, 1)
    )
    return _again(
        trust,
        people=tuple(people.values()),
        roles={**trust.roles, role: changed},
        single_person=trust.single_person and role is not Role.APPROVER,
    )


def without_holder(trust: TrustFile, name: str, role: Role | None) -> TrustFile:
    """Return `trust` without `name` in `role`, or without that person at all."""
    if name not in {p.name for p in trust.people}:
        raise UsageError(
            f"nobody is called {name} in this trust root", hint="see `trust status DIR`"
        )
    roles = {
        r: rule.model_copy(update={"holders": tuple(h for h in rule.holders if h != name)})
        if role in {None, r}
        else rule
        for r, rule in trust.roles.items()
    }
    people = trust.people
    if role is None:
        people = tuple(p for p in people if p.name != name)
    return _again(trust, people=people, roles=roles)


def with_threshold(trust: TrustFile, role: Role, threshold: int) -> TrustFile:
    """Return `trust` with another number of people needed in `role`."""
    rule = trust.roles.get(role)
    if rule is None:
        raise UsageError(f"nobody holds the role {role} yet", hint=f"add somebody with --{role}")
    changed = rule.model_copy(update={"threshold": threshold})
    return _again(
        trust,
        roles={**trust.roles, role: changed},
        single_person=threshold == 0 if role is Role.APPROVER else trust.single_person,
    )


def read_named_key(argument: str) -> tuple[str, bytes]:
    """Read `NAME=FILE.pub`, or `FILE.pub` whose stem is the name; return name and public PEM."""
    name, sep, path = argument.partition("=")
    if not (path if sep else argument):
        raise UsageError(
            f"{argument!r} names no file", hint="write it as NAME=FILE.pub or FILE.pub"
        )
    file = Path(path if sep else argument)
    try:
        pem = file.read_bytes()
    except OSError as error:
        raise UnreadableInput(
            f"cannot read the public key {file}: {error.strerror}", hint="give the .pub file"
        ) from error
    parse_public_key(pem)
    return (name if sep else file.stem), pem


def public_keys(named: Iterable[tuple[str, bytes]]) -> tuple[PublicKey, ...]:
    """Return the keys alone."""
    return tuple(parse_public_key(pem) for _, pem in named)


def _joined(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _again(trust: TrustFile, **changes: object) -> TrustFile:
    fields = {name: getattr(trust, name) for name in TrustFile.model_fields if name != "schema_"}
    return _checked(**{**fields, **changes})


def _checked(**fields: object) -> TrustFile:
    try:
        return TrustFile.model_validate({"schema": "pratique.trust/v1", **fields})
    except ValidationError as error:
        raise UsageError(
            f"this trust root would not work: {first_problem(error)}",
            hint="see docs/trust.md for what a root needs",
        ) from error


def certificate_holder(argument: str) -> tuple[Role, Person]:
    """Read `ROLE:NAME=EMAIL`."""
    role, name, subject = _holder(argument)
    return role, _person(name=name, certificates=(subject,))


def sigstore_holder(argument: str) -> tuple[Role, Person]:
    """Read `ROLE:NAME=SUBJECT,ISSUER`."""
    role, name, account = _holder(argument)
    subject, sep, issuer = account.rpartition(",")
    if not sep:
        raise UsageError(f"{argument} names no issuer", hint="write ROLE:NAME=SUBJECT,ISSUER")
    return role, _person(name=name, sigstore=({"subject": subject, "issuer": issuer},))


def role_threshold(argument: str) -> tuple[Role, int]:
    """Read `ROLE=N`."""
    role, sep, number = argument.partition("=")
    if not sep or role not in set(Role) or not number.isdecimal():
        raise UsageError(f"{argument} is no threshold", hint="write it as approver=2")
    return Role(role), int(number)


def _holder(argument: str) -> tuple[Role, str, str]:
    role, colon, rest = argument.partition(":")
    name, sep, credential = rest.partition("=")
    if not (colon and sep and credential) or role not in set(Role):
        raise UsageError(f"{argument} names no role and person", hint="write it as vetter:ann=…")
    return Role(role), name, credential


def _person(**fields: object) -> Person:
    try:
        return Person.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        raise UsageError(f"nobody can be described so: {first_problem(error)}") from error
