"""Encrypts text-log lines to auditors who are not on this host (age, X25519 recipients).

The operator writes what the operator cannot read: only the public recipients are here. Needs the
`escrow` extra (pyrage, MIT, the Rust implementation of age-encryption.org/v1).
"""

import base64
from collections.abc import Sequence

from pratique.core.ids import shown
from pratique.errors import PolicyError


class Escrow:
    """Recipients who can read. Raises PolicyError if one is malformed or the extra is missing."""

    def __init__(self, recipients: Sequence[str]) -> None:
        try:
            from pyrage import RecipientError, encrypt, x25519  # noqa: PLC0415 - an optional extra
        except ImportError as error:
            raise PolicyError(
                "the policy escrows text, but the escrow extra is not installed",
                hint="install pratique[escrow], or remove serve.escrow from the policy",
            ) from error
        try:
            self._recipients = [x25519.Recipient.from_str(text) for text in recipients]
        except RecipientError as error:
            raise PolicyError(
                f"serve.escrow names what is no age recipient: {shown(', '.join(recipients))}",
                hint="give public keys as age-keygen prints them: age1…",
            ) from error
        self._encrypt = encrypt

    def seal(self, text: str) -> str:
        """Return `text` encrypted to every recipient, base64 of the age file."""
        return base64.b64encode(self._encrypt(text.encode(), self._recipients)).decode()
