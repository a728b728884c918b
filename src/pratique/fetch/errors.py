"""Whatever goes wrong between us and a server becomes one FetchError that says what to do.

The rule: nothing that a server wrote is repeated without being quoted, and no message holds a token
or a query string.
"""

import re
import ssl
from typing import Final
from urllib.parse import urlsplit

import httpx2
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from pratique.core.ids import shown
from pratique.errors import FetchError

TRANSIENT_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


def safe_url(url: str) -> str:
    """Return `url` without user, password, query and fragment, for a message."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "a malformed URL"
    return shown(f"{parts.scheme}://{host}{port}{parts.path}", 200).strip("'")


def explain(error: Exception, *, what: str, endpoint: str) -> FetchError:
    """Return the FetchError for what a client library raised while asking for `what`."""
    if isinstance(error, FetchError):
        return error
    if isinstance(error, OfflineModeIsEnabled):
        return offline()
    if isinstance(error, HfHubHTTPError):
        return _answered(error, what, endpoint)
    if isinstance(error, httpx2.TimeoutException):
        return FetchError(
            f"{endpoint} did not answer in time for {what}",
            hint="try again, or give more time with --timeout; what was downloaded is kept",
        )
    if _is_tls(error):
        return FetchError(
            f"no trusted TLS connection to {endpoint} ({type(error).__name__})",
            hint="if your network has its own CA, name it with --ca FILE (or SSL_CERT_FILE)",
        )
    if isinstance(error, httpx2.ProxyError):
        return FetchError(
            f"the proxy refused the way to {endpoint}",
            hint="check HTTPS_PROXY and NO_PROXY",
        )
    if isinstance(error, httpx2.ConnectError):
        return FetchError(
            f"cannot connect to {endpoint} for {what}",
            hint="check the network, HF_ENDPOINT or --endpoint, and the proxy settings",
        )
    return FetchError(
        f"the connection to {endpoint} broke while fetching {what} ({type(error).__name__})",
        hint="try again; what was downloaded is kept",
    )


def gated(what: str, endpoint: str) -> FetchError:
    """Somebody has to accept conditions on a page first."""
    return FetchError(
        f"{what} is gated: its owner lets in only who accepted the conditions",
        hint=f"open {_page(what, endpoint)} , accept the conditions with your account, "
        "then `hf auth login` or set HF_TOKEN",
    )


def offline() -> FetchError:
    """The environment forbids the network."""
    return FetchError(
        "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, so nothing is fetched",
        hint="unset it, or fetch from a local directory: pratique fetch ./DIR",
    )


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _answered(error: HfHubHTTPError, what: str, endpoint: str) -> FetchError:
    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        return gated(what, endpoint)
    if isinstance(error, DisabledRepoError):
        return FetchError(f"{what} was disabled by the Hub", hint="choose another repository")
    if isinstance(error, RevisionNotFoundError):
        return FetchError(
            f"{what} does not exist at that revision",
            hint="name a branch, a tag or a 40-digit commit that the repository has",
        )
    if isinstance(error, RepositoryNotFoundError) or status == 401:
        return FetchError(
            f"{what} was not found at {endpoint}, or is private",
            hint="check the spelling; for a private repository `hf auth login` or set HF_TOKEN; "
            "for a local directory write ./DIR",
        )
    if isinstance(error, EntryNotFoundError) or status == 404:
        return FetchError(f"{what} was not found at {endpoint}", hint="fetch again from the start")
    if status == 403:
        return FetchError(
            f"{endpoint} forbids {what} with this token",
            hint="use a token with read permission for this repository (HF_TOKEN)",
        )
    if status == 429:
        return FetchError(
            f"{endpoint} still says 'too many requests' for {what}",
            hint="wait some minutes and run the same command again; what was downloaded is kept",
        )
    return FetchError(
        f"{endpoint} answered {status} for {what}",
        hint="try again later; what was downloaded is kept",
    )


def _page(what: str, endpoint: str) -> str:
    return f"{endpoint}/{re.split('[@: ]', what, maxsplit=1)[0]}"
