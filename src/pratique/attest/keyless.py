"""Sigstore keyless."""

from datetime import datetime

from pratique.attest.envelope import SignatureFile
from pratique.attest.keys import Crypto
from pratique.attest.trustroot import Authorities
from pratique.attest.values import Identity
from pratique.errors import VerificationRefused


def verify(
    parts: SignatureFile,
    authorities: Authorities,
    *,
    now: datetime,
    crypto: Crypto,
) -> tuple[Identity, datetime | None]:
    """Return identity and time. Raises VerificationRefused."""
    raise VerificationRefused("keyless: to come")
