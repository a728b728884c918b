"""Opening whatever a person signs with: a key file, a token, a certificate, or an identity token.

One place for the command line, so that every command that signs offers the same methods.
"""

from dataclasses import dataclass
from pathlib import Path

from pratique.attest.envelope import KeyMaterial, Material
from pratique.attest.hsm import SCHEME, load_hsm_signer
from pratique.attest.keys import PasswordPrompt, Signer, load_signer
from pratique.attest.sign import SignsStatements
from pratique.attest.timestamp import HttpTimestampAuthority, TimestampAuthority
from pratique.attest.values import Identity
from pratique.errors import SealError, UsageError

MAX_TOKEN_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SigningOptions:
    """What a person said they sign with.

    `key` is a path or a `pkcs11:` URI; `certificates` a PEM file, leaf first; `timestamp_url` the
    address of an RFC 3161 authority; `identity_token` a file with an OpenID token for Sigstore,
    `sigstore_config` a client trust configuration (None: the public instance).
    """

    key: str | None = None
    certificates: Path | None = None
    timestamp_url: str | None = None
    identity_token: Path | None = None
    sigstore_config: Path | None = None


class TimestampedSigner:
    """A key whose signatures bear a timestamp, so that revoking it later spares the earlier ones."""

    def __init__(self, signer: Signer, authority: TimestampAuthority) -> None:
        self._signer = signer
        self._authority = authority

    @property
    def key_id(self) -> str:
        """Hex SHA-256 of the public PEM."""
        return self._signer.key_id

    @property
    def identity(self) -> Identity:
        """The key itself."""
        return self._signer.identity

    @property
    def public_pem(self) -> bytes:
        """Canonical PEM of the public half."""
        return self._signer.public_pem

    def sign(self, data: bytes) -> bytes:
        """Sign `data`."""
        return self._signer.sign(data)

    def material(self, signature: bytes) -> Material:
        """Return the key's id and a timestamp over `signature`. Raises SealError."""
        return KeyMaterial(hint=self.key_id, timestamps=(self._authority.stamp(signature),))


def open_signer(
    options: SigningOptions, password_prompt: PasswordPrompt | None = None
) -> Signer | SignsStatements:
    """Return the signer that `options` describe. Raises SealError (exit 6) or UsageError."""
    if options.identity_token is not None:
        if options.key or options.certificates or options.timestamp_url:
            raise UsageError("an identity token signs alone", hint="leave --key and the rest out")
        return _keyless(options.identity_token, options.sigstore_config)
    if not options.key:
        raise SealError(
            "no key was given", hint="make one with `pratique keys new`, then --key FILE"
        )
    signer: Signer
    if options.key.startswith(SCHEME):
        signer = load_hsm_signer(options.key, password_prompt)
    else:
        signer = load_signer(Path(options.key), password_prompt)
    authority = HttpTimestampAuthority(options.timestamp_url) if options.timestamp_url else None
    if options.certificates is not None:
        from pratique.attest.certificate import load_certificate_signer  # noqa: PLC0415  # X.509

        return load_certificate_signer(signer, options.certificates, authority)
    return TimestampedSigner(signer, authority) if authority else signer


def _keyless(token: Path, config: Path | None) -> SignsStatements:
    from pratique.attest.keyless_sign import KeylessSigner, load_trust_config  # noqa: PLC0415  # slow

    try:
        with token.open("rb") as file:
            text = file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SealError(f"cannot read the identity token {token}") from error
    return KeylessSigner(text, load_trust_config(config))
