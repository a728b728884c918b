"""The certificate method."""

from datetime import datetime

from pratique.attest.envelope import ChainMaterial, SignatureFile
from pratique.attest.keys import Crypto
from pratique.attest.trustroot import Authorities
from pratique.attest.values import Identity
from pratique.errors import VerificationRefused


def verify(
    parts: SignatureFile,
    material: ChainMaterial,
    authorities: Authorities,
    *,
    now: datetime,
    crypto: Crypto,
) -> tuple[Identity, datetime | None]:
    """Return identity and time. Raises VerificationRefused."""
    raise VerificationRefused("certificates: to come")
