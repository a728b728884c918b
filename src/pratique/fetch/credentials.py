"""What we say of ourselves to a Hub: a name, versions, and the token, to that Hub alone.

The rules: the token is taken from where huggingface_hub takes it, never over a way that others read,
never repeated in a message, and an answer that repeats it is not taken: answers are kept and carried.
Not the library's own headers: to make them it asks the official Hub for a list first, whichever Hub
was meant, and tells what else is installed here.
"""

import platform
import urllib.request
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

from huggingface_hub import constants, get_token

from pratique import __version__
from pratique.errors import FetchError, UsageError
from pratique.fetch.urls import Endpoint, Origin

_AUTHORIZATION: Final = "authorization"


def request_headers(endpoint: Endpoint) -> dict[str, str]:
    """Return the headers of every request, lower-case.

    Raises FetchError if the token would travel in the clear, or cannot be had; UsageError if what
    stands in its place is none.
    """
    agent = f"pratique/{__version__}; hf_hub/{version('huggingface_hub')}"
    headers = {"user-agent": f"{agent}; python/{platform.python_version()}"}
    if (token := _token()) is None:
        return headers
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            "what stands in the place of the Hub's token is not one",
            hint="check HF_TOKEN, or log in again with `hf auth login`",
        )
    if not endpoint.token_may_travel:
        raise FetchError(
            f"a token would travel to {endpoint.base} in the clear",
            hint="use https, or unset HF_TOKEN (HF_HUB_DISABLE_IMPLICIT_TOKEN=1)",
        )
    if endpoint.origin.scheme == "http" and _goes_through_proxy(endpoint.origin):
        raise FetchError(
            f"a token for {endpoint.base} would travel through a proxy in the clear",
            hint="name this host in NO_PROXY, use https, or unset HF_TOKEN",
        )
    return {**headers, _AUTHORIZATION: f"Bearer {token}"}


def _token() -> str | None:
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None
    try:
        return get_token()
    except Exception as error:  # whatever the library makes of its files and of OIDC
        raise FetchError(
            f"no token could be had ({type(error).__name__})",
            hint="log in again with `hf auth login`, or set HF_HUB_DISABLE_IMPLICIT_TOKEN=1",
        ) from error


def _goes_through_proxy(origin: Origin) -> bool:
    proxies = urllib.request.getproxies()
    if not (proxies.get(origin.scheme) or proxies.get("all")):
        return False
    return not urllib.request.proxy_bypass(f"{origin.host}:{origin.port}")


def refuse_reflected(headers: Mapping[str, str], body: bytes, what: str) -> None:
    """Raise FetchError if `body` has the token that was sent. It would be kept in the snapshot."""
    _, _, token = headers.get(_AUTHORIZATION, "").partition(" ")
    if token and token.encode() in body:
        raise FetchError(
            f"the answer for {what} repeats the token that was sent, and was not kept",
            hint="check what stands between here and the Hub, and make a new token",
        )
