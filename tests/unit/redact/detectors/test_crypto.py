"""What CryptoDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.crypto import CryptoDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
        (
            "0x742d35Cc6634C0532925a3b844Bc454e4438f44e",
            "0x742d35Cc6634C0532925a3b844Bc454e4438f44e",
        ),
        (
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        ),
    ],
)
def test_finds(text, expected):
    assert values(CryptoDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
        "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "0x7fff5fbff8c0",
        "0x0000000000000000000000000000000000000000",
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKwZ",
    ],
)
def test_leaves_look_alikes(text):
    assert values(CryptoDetector(), text) == []
