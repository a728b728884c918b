"""The trust root as a proof: what the enclave trusts, after TUF metadata vouched for every byte.

Made by `install` only. It answers questions (who is this, is this revoked, is this fresh enough) and
decides nothing about a bundle; `verify` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, final

from pratique.attest.keys import PublicKey, key_id_of, parse_public_key
from pratique.attest.trustfile import (
    Person,
    Revocation,
    RoleRule,
    SigningRules,
    TrustFile,
    revocation_key,
)
from pratique.attest.values import Identity, Role
from pratique.core.policy import TrustRules
from pratique.core.proof import Proof
from pratique.errors import VerificationRefused

CLOCK_SKEW: Final = timedelta(minutes=5)
SERVING_GRACE: Final = timedelta(days=30)
"""How long after admission has stopped for stale trust an admitted model may still be served."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """Who may vouch for keys and times: what signatures are authenticated against.

    `keys` by key id; `certificate_roots` and `crls` in DER; each timestamp authority is a chain in
    DER, leaf first; `sigstore` is a `trusted_root.json`. `as_of` is when all this was last accepted:
    revocation lists must have been fresh then.
    """

    as_of: datetime

    keys: Mapping[str, PublicKey] = field(default_factory=lambda: MappingProxyType({}))
    certificate_roots: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    timestamp_chains: tuple[tuple[bytes, ...], ...] = ()
    sigstore: bytes | None = None


@final
class TrustRoot(Proof):
    """What this enclave trusts. Made only by `installed_trust` and `trust_from_directory`."""

    __slots__ = (
        "_authorities",
        "_file",
        "_people",
        "_revocations",
        "as_of",
        "expires",
        "fingerprint",
        "policies",
        "root_version",
        "source",
        "time_floor",
        "version",
    )

    _authorities: Authorities
    _file: TrustFile
    _people: Mapping[Identity, Person]
    _revocations: Mapping[tuple[str, str], Revocation]
    as_of: datetime
    """When this set was last accepted (installed), else when it was issued."""
    expires: datetime
    """When its metadata expires: no longer installable after that."""
    fingerprint: str
    """Hex SHA-256 of the `root.json` that was pinned."""
    policies: Mapping[str, bytes]
    """The enclave's policies by file name."""
    root_version: int
    source: str
    """Whose root this is, for people: the home or directory that it came from."""
    time_floor: datetime
    """The latest time this installation has seen. A clock before it ran backwards."""
    version: int

    @property
    def enclave(self) -> str:
        """Id of the enclave, pinned at install."""
        return self._file.enclave

    @property
    def file(self) -> TrustFile:
        """The whole of `trust.toml`."""
        return self._file

    @property
    def issued(self) -> datetime:
        """When its authors last changed it."""
        return self._file.issued

    @property
    def single_person(self) -> bool:
        """Whether one person may act alone (approver threshold 0)."""
        return self._file.single_person

    @property
    def people(self) -> tuple[Person, ...]:
        """Everybody with a credential."""
        return self._file.people

    @property
    def roles(self) -> Mapping[Role, RoleRule]:
        """Who may sign what."""
        return MappingProxyType(self._file.roles)

    @property
    def rules(self) -> SigningRules:
        """What the enclave asks of signatures beyond being valid."""
        return self._file.rules

    @property
    def authorities(self) -> Authorities:
        """What signatures are authenticated against."""
        return self._authorities

    @property
    def revocations(self) -> tuple[Revocation, ...]:
        """All that is revoked, emergency revocations included."""
        return tuple(self._revocations.values())

    def person(self, identity: Identity) -> Person | None:
        """Return whose credential `identity` is, or None."""
        return self._people.get(identity)

    def revoked(self, kind: str, name: str) -> Revocation | None:
        """Return the revocation of one bundle, key, identity or model digest, or None."""
        return self._revocations.get(revocation_key(kind, name))

    def names(self, kind: str, name: str) -> bool:
        """Whether somebody here is known by this key (`key`), or name or address (`identity`).

        A key in a certificate is not known before it signs.
        """
        if kind == "key":
            return name in self._authorities.keys
        known = {w for p in self.people for w in (p.name, *(i.subject for i in p.identities))}
        return revocation_key(kind, name) in {revocation_key(kind, word) for word in known}

    def age(self, now: datetime) -> timedelta:
        """Return how long ago this set was last accepted."""
        return now - self.as_of

    def check_clock(self, now: datetime) -> None:
        """Raise VerificationRefused if `now` is before a time that was already seen."""
        latest = max(self.time_floor, self.as_of, self.issued)
        if now < latest - CLOCK_SKEW:
            raise VerificationRefused(
                f"the clock ran backwards: it says {now:%Y-%m-%d %H:%M}Z, "
                f"but {latest:%Y-%m-%d %H:%M}Z was already seen",
                hint="set the clock of this host; expiry cannot be judged without it",
            )

    def check_fresh(self, now: datetime, rules: TrustRules, *, grace: timedelta) -> None:
        """Raise VerificationRefused if this set is older than `rules` and `grace` permit."""
        limit = timedelta(days=rules.max_trust_age_days) + grace
        if self.age(now) > limit:
            raise VerificationRefused(
                f"the trust root is stale: last updated {self.as_of:%Y-%m-%d}, "
                f"and at most {limit.days} days are permitted",
                hint="bring a newer set with `pratique trust install DIR`",
            )


def index_revocations(
    lists: Mapping[str, tuple[Revocation, ...]],
) -> dict[tuple[str, str], Revocation]:
    """Join revocation lists; of two for the same thing the earlier time holds."""
    found: dict[tuple[str, str], Revocation] = {}
    for entries in lists.values():
        for entry in entries:
            key = revocation_key(entry.kind, entry.id)
            known = found.get(key)
            if known is None or entry.at < known.at:
                found[key] = entry
    return found


def index_keys(file: TrustFile) -> dict[str, PublicKey]:
    """Return every person's public keys by key id."""
    return {
        key_id_of(pem.encode()): parse_public_key(pem.encode())
        for person in file.people
        for pem in person.keys
    }
