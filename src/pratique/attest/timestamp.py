"""RFC 3161 timestamps: when a signature existed, as an authority of the trust root vouches for it.

Every timestamp in a file has to verify: one that does not is refused, never skipped. A time is
believed if the token is over this very signature, its signer chains to an authority that the trust
root carries, and that authority's certificates were valid at the time. Of several the earliest
counts: it proves that the signature existed by then.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerifierBuilder,
    decode_timestamp_response,
)
from rfc3161_client.errors import VerificationError

from pratique.attest.tsa_token import check_signer
from pratique.errors import FormatError, SealError, VerificationRefused

MAX_RESPONSE_BYTES: Final = 64 * 1024
_HINT: Final = "have it signed again with an authority that the trust root carries (tsa/NAME.pem)"
_CONTENT: Final = {"Content-Type": "application/timestamp-query"}


class TimestampAuthority(Protocol):
    """Somebody on the connected side who timestamps signatures."""

    def stamp(self, signature: bytes) -> bytes:
        """Return the DER of an RFC 3161 response over `signature`. Raises SealError."""
        ...


class HttpTimestampAuthority:
    """An authority that answers over HTTP (RFC 3161, section 3.4).

    Checks that the answer is over the request's digest and bears its nonce; whether the authority is
    trusted is for those who verify.
    """

    def __init__(self, url: str, post: Callable[[str, bytes], bytes] | None = None) -> None:
        self._url = url
        self._post = post or _post

    def stamp(self, signature: bytes) -> bytes:
        """Ask for a timestamp over `signature`."""
        request = (
            TimestampRequestBuilder().data(signature).hash_algorithm(HashAlgorithm.SHA256).build()
        )
        answer = self._post(self._url, request.as_bytes())
        try:
            response = decode_timestamp_response(answer)
            same = (
                response.tst_info.message_imprint.message == request.message_imprint.message
                and response.tst_info.nonce == request.nonce
            )
        except ValueError as error:
            raise SealError(f"{self._url} did not answer with a timestamp") from error
        if not same:
            raise SealError(f"{self._url} answered with a timestamp of something else")
        return answer


def verify(
    responses: tuple[bytes, ...], signature: bytes, chains: tuple[tuple[bytes, ...], ...]
) -> datetime:
    """Return the earliest time at which `signature` is shown to have existed.

    `chains` are the trusted authorities' certificates in DER, leaf first, root last. Raises
    VerificationRefused unless every response verifies.
    """
    if not chains:
        raise VerificationRefused(
            "bears a timestamp, and the trust root carries no timestamp authority", hint=_HINT
        )
    return min(_one(response, signature, chains) for response in responses)


def _one(data: bytes, signature: bytes, chains: tuple[tuple[bytes, ...], ...]) -> datetime:
    try:
        response = decode_timestamp_response(data)
        if response.as_bytes() != data:
            raise VerificationRefused("its timestamp is not in canonical form", hint=_HINT)
        check_signer(data)
        when: datetime = response.tst_info.gen_time
        for chain in chains:
            certificates = [x509.load_der_x509_certificate(der) for der in chain]
            if not all(
                c.not_valid_before_utc <= when <= c.not_valid_after_utc for c in certificates
            ):
                continue
            verifier = VerifierBuilder(
                tsa_certificate=certificates[0],
                intermediates=certificates[1:-1],
                roots=certificates[-1:],
            ).build()
            try:
                verifier.verify_message(response, signature)
            except VerificationError:
                continue
            return when
    except VerificationRefused:
        raise
    except FormatError as error:
        raise VerificationRefused(f"its {error.message}", hint=_HINT) from error
    except Exception as error:  # ASN.1 readers raise what they like; all of it refuses
        raise VerificationRefused("its timestamp cannot be read", hint=_HINT) from error
    raise VerificationRefused(
        "its timestamp is not by an authority of the trust root, or not over this signature",
        hint=_HINT,
    )


def _post(url: str, body: bytes) -> bytes:
    """One request, on the connected side only: whoever verifies never comes here."""
    import urllib.error  # noqa: PLC0415  # not needed, and not loaded, in the enclave
    import urllib.request  # noqa: PLC0415

    if not url.startswith(("https://", "http://")):
        raise SealError(f"{url} is not an address of a timestamp authority")
    request = urllib.request.Request(url, data=body, headers=_CONTENT)  # noqa: S310  # checked above
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # checked above
            data: bytes = answer.read(MAX_RESPONSE_BYTES + 1)
    except (urllib.error.URLError, OSError) as error:
        raise SealError(
            f"no timestamp from {url}: {error}", hint="try again, or sign without a timestamp"
        ) from error
    if len(data) > MAX_RESPONSE_BYTES:
        raise SealError(f"{url} answered with too much to be a timestamp")
    return data
