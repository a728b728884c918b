"""Sigstore keyless signing, on the connected side only: nothing in the enclave imports this.

A fresh key signs once, its certificate names whom the identity token names, and a public log and
timestamp authority say when. What comes out is verified offline by `keyless`.
"""

from pathlib import Path

from sigstore.dsse import Statement
from sigstore.models import ClientTrustConfig
from sigstore.oidc import ExpiredIdentity, IdentityError, IdentityToken
from sigstore.sign import SigningContext

from pratique.attest.values import Identity, Method
from pratique.errors import SealError


class KeylessSigner:
    """Signs with a short-lived certificate for an OpenID identity: on the connected side only."""

    def __init__(self, token: str, config: ClientTrustConfig) -> None:
        """Take an identity token (a JWT) and the addresses and keys of a Sigstore instance.

        Raises SealError if the token is malformed, expired or not meant for Sigstore.
        """
        try:
            self._token = IdentityToken(token)
        except IdentityError as error:
            raise SealError(
                f"the identity token cannot be used: {error}", hint="get a fresh one for Sigstore"
            ) from error
        self._config = config

    @property
    def identity(self) -> Identity:
        """What the token says; the certificate says it again, signed."""
        return Identity(Method.SIGSTORE, self._token.identity, self._token.federated_issuer)

    def sign_statement(self, payload: bytes) -> bytes:
        """Return a signature file over the in-toto statement `payload`. Raises SealError."""
        try:
            context = SigningContext.from_trust_config(self._config)
            with context.signer(self._token) as signer:
                bundle = signer.sign_dsse(Statement(payload))
        except ExpiredIdentity as error:
            raise SealError("the identity token has expired", hint="get a fresh one") from error
        except Exception as error:  # network and services fail in many ways
            raise SealError(
                f"Sigstore did not sign: {type(error).__name__}: {error}"[:300],
                hint="check the network and the trust configuration, or sign with a key",
            ) from error
        return bundle.to_json().encode()


def load_trust_config(path: Path | None) -> ClientTrustConfig:
    """Read a Sigstore client trust configuration; None: the public instance (over the network)."""
    try:
        if path is None:
            return ClientTrustConfig.production()
        return ClientTrustConfig.from_json(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library's readers raise what they like
        raise SealError(
            f"the Sigstore trust configuration cannot be used: {error}"[:300],
            hint="give a clienttrustconfig v0.1 JSON file",
        ) from error
