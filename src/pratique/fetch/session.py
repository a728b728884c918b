"""One connection to one Hub: huggingface_hub's client with our limits around it.

The rules: no redirect is followed by the client, the token goes to the endpoint's origin only, every
answer has a size limit before it is read, and nothing is decompressed (`Accept-Encoding: identity`).
"""

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2
from huggingface_hub import constants, get_session, set_client_factory
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils._http import default_client_factory, hf_raise_for_status

from pratique.core.ids import shown
from pratique.errors import FetchError, UnreadableInput, UsageError
from pratique.fetch.body import raw
from pratique.fetch.credentials import refuse_reflected, request_headers
from pratique.fetch.errors import TRANSIENT_STATUS, explain, offline, safe_url
from pratique.fetch.patience import Patience
from pratique.fetch.urls import Endpoint, origin_of
from pratique.fetch.watch import note_answer, watched

_ERROR_BODY: Final = 64 << 10
_CRUMBS: Final = 10_000
"""An answer may come in so many pieces, and one more for each 16 bytes."""
TRANSIENT: Final = (httpx2.TransportError, httpx2.StreamError)


@dataclass(frozen=True, slots=True)
class Tls:
    """Own CA bundle and client certificate; None means the system's, none."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def verify(self) -> "ssl.SSLContext | bool":
        """Return what httpx2 takes as `verify`. Raises UnreadableInput for unusable files."""
        if self.key is not None and self.certificate is None:
            raise UsageError(
                "a client's key was given without its certificate", hint="give --cert FILE as well"
            )
        if self.ca is None and self.certificate is None:
            _check_environment()
            return True
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            named = " or ".join(str(p) for p in (self.ca, self.certificate, self.key) if p)
            raise UnreadableInput(
                f"cannot use {named} for TLS", hint="give PEM files; the key without a password"
            ) from error
        return context


def _check_environment() -> None:
    """The TLS library says no name when what the environment names is not there."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = os.environ.get(name)
        if path and not Path(path).exists():
            raise UnreadableInput(
                f"{name} names {shown(path, 200)}, which is not there",
                hint=f"correct or unset {name}",
            )


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `headers` has lower-case names."""

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes
    next_url: str | None = None


@dataclass(frozen=True, slots=True)
class HubSession:
    """Requests to one endpoint. Made by `hub_session`, safe to use from several threads."""

    endpoint: Endpoint
    patience: Patience
    _headers: Mapping[str, str] = field(repr=False)
    timeout: float = 60.0
    """The longest silence, in seconds."""
    has_own_tls: bool = False
    """Whether connections need a CA or certificate that only this session knows."""

    @property
    def authorization(self) -> str | None:
        """The `Authorization` header's value, for the endpoint's origin only."""
        return self._headers.get("authorization")

    @property
    def has_token(self) -> bool:
        """Whether a token is sent."""
        return self.authorization is not None

    @contextlib.contextmanager
    def stream(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Iterator[httpx2.Response]:
        """Open one answer without reading it. Raises httpx2 errors; checks no status."""
        sent = {**self._headers, "accept-encoding": "identity", **(headers or {})}
        if origin_of(url) != self.endpoint.origin:
            sent.pop("authorization", None)
        with get_session().stream(
            method, url, headers=sent, content=content, follow_redirects=False
        ) as response:
            note_answer(response)
            if response.headers.get("content-encoding", "identity") != "identity":
                raise FetchError(
                    f"{safe_url(url)} came compressed although plain bytes were asked for",
                    hint="check what stands between here and the Hub",
                )
            yield response

    def get(self, url: str, *, limit: int, what: str) -> Answer:
        """Fetch a whole answer of at most `limit` bytes, asking again after passing failures.

        Redirects are returned, not followed. Raises FetchError for everything from 400 up.
        """
        for failures in range(1, self.patience.attempts + 1):
            try:
                answer = self._once(url, limit, what)
            except TRANSIENT as error:
                if failures == self.patience.attempts:
                    raise self.explained(error, what) from error
                self.patience.pause(failures, None, what=what)
                continue
            if answer.status not in TRANSIENT_STATUS or failures == self.patience.attempts:
                break
            self.patience.pause(failures, answer.headers, what=what)
        else:
            raise RuntimeError("patience without attempts")
        self.check(answer, what)
        return answer

    def _once(self, url: str, limit: int, what: str) -> Answer:
        with self.stream(url) as response:
            answer = read_answer(response, limit, what)
        refuse_reflected(self._headers, answer.body, what)
        return answer

    def check(self, answer: Answer, what: str) -> None:
        """Raise the FetchError for an error status, if it is one."""
        if answer.status < 400:
            return
        copy = httpx2.Response(
            answer.status,
            headers={k: v for k, v in answer.headers.items() if k.startswith("x-error-")},
            content=answer.body[:_ERROR_BODY],
            request=httpx2.Request("GET", answer.url),
        )
        try:
            hf_raise_for_status(copy)
        except (HfHubHTTPError, httpx2.HTTPError) as error:
            raise self.explained(error, what) from error
        except Exception as error:  # whatever the foreign reader makes of a hostile error body
            raise FetchError(
                f"{self.endpoint.base} answered {answer.status} for {what}", hint="try again later"
            ) from error

    def explained(self, error: Exception, what: str) -> FetchError:
        """The FetchError for a client library's error."""
        return explain(error, what=what, endpoint=self.endpoint.base)


def read_answer(response: httpx2.Response, limit: int, what: str) -> Answer:
    """Read a body of at most `limit` bytes (error bodies: cut). Raises FetchError beyond."""
    is_error = response.status_code >= 400
    limit = _ERROR_BODY if is_error else limit
    body = bytearray()
    for count, piece in enumerate(raw(response)):
        body += piece
        if len(body) > limit and is_error:
            break
        if len(body) > limit or count > _CRUMBS + len(body) // 16:
            is_long = len(body) > limit
            raise FetchError(
                f"the answer for {what} is longer than {limit} bytes"
                if is_long
                else f"the answer for {what} comes in crumbs",
                hint="this is not what a Hub sends; check the endpoint",
            )
    following = response.links.get("next", {}).get("url")
    return Answer(
        status=response.status_code,
        url=str(response.request.url),
        headers=dict(response.headers),
        body=bytes(body),
        next_url=following,
    )


@contextlib.contextmanager
def hub_session(
    endpoint: Endpoint,
    *,
    tls: Tls | None = None,
    timeout: float = 60.0,
    patience: Patience | None = None,
    transport: Callable[[], httpx2.BaseTransport] | None = None,
) -> Iterator[HubSession]:
    """Open a session. Token, proxies and agent come from where huggingface_hub takes them.

    `timeout` is the longest silence in seconds. `transport` replaces the network (tests).
    huggingface_hub's own client is replaced by ours meanwhile, so that its helpers obey it too.
    """
    if constants.is_offline_mode():
        raise offline()
    headers = request_headers(endpoint)
    verify = (tls or Tls()).verify()

    def keep_token(request: httpx2.Request) -> None:
        if origin_of(str(request.url)) != endpoint.origin:
            request.headers.pop("authorization", None)

    patience = patience or Patience()

    def factory() -> httpx2.Client:
        client = httpx2.Client(
            verify=verify,
            follow_redirects=False,
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 20.0), pool=None),
            limits=httpx2.Limits(max_connections=32, max_keepalive_connections=16),
            event_hooks={"request": [keep_token]},
            transport=transport() if transport is not None else None,
        )
        return watched(client, patience)

    set_client_factory(factory)
    try:
        yield HubSession(
            endpoint,
            patience,
            headers,
            timeout=timeout,
            has_own_tls=verify is not True,
        )
    finally:
        set_client_factory(default_client_factory)
