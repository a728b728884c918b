"""Where requests may go. The token belongs to one origin; a redirect leads only where it is expected.

A redirect is followed only for file content, only to the endpoint itself (its resolve or cache route
for the very same repository and commit), to the Hub's own content hosts, or to a host that the policy
lists; never from https to http.
"""

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from pratique.core.ids import CommitSha, RepoId, shown
from pratique.errors import FetchError, UsageError
from pratique.fetch.errors import safe_url

OFFICIAL: Final = "https://huggingface.co"
_OFFICIAL_HOSTS: Final = ("*.huggingface.co", "*.hf.co")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a URL."""

    scheme: str
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether this is this very machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def origin_of(url: str) -> Origin | None:
    """Return the origin of an absolute http(s) URL, or None for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or parts.username or parts.password:
        return None
    return Origin(parts.scheme, parts.hostname.lower(), port or _PORTS[parts.scheme])


def path_of(url: str) -> str:
    """Return the path of a URL, or "" if it is none."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location)
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Hub: `base` is `https://HOST[:PORT][/PREFIX]`, without a slash at the end."""

    base: str
    origin: Origin
    redirect_hosts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, *, redirect_hosts: tuple[str, ...] = ()) -> "Endpoint":
        """Raises UsageError unless `text` is an http(s) URL without user, query and fragment."""
        base = text.rstrip("/")
        origin = origin_of(base)
        parts = urlsplit(base) if origin is not None else None
        if origin is None or parts is None or parts.query or parts.fragment:
            raise UsageError(
                f"not an endpoint: {shown(text)}",
                hint="write it as https://HOST, without a user name; tokens come from HF_TOKEN",
            )
        own = _OFFICIAL_HOSTS if base == OFFICIAL else ()
        return cls(base, origin, (*own, *redirect_hosts))

    @property
    def token_may_travel(self) -> bool:
        """Whether a token may be sent: over TLS, or to this very machine."""
        return self.origin.scheme == "https" or self.origin.is_loopback

    def api(self, repo: RepoId, *parts: str) -> str:
        """URL of the model API for `repo`."""
        tail = "".join("/" + quote(part, safe="") for part in parts)
        return f"{self.base}/api/models/{repo}{tail}"

    def resolve(self, repo: RepoId, commit: CommitSha, path: str) -> str:
        """URL of a file's content at `commit`."""
        return f"{self.base}/{repo}/resolve/{commit}/{quote(path)}"

    def git(self, repo: RepoId) -> str:
        """URL of the repository for git."""
        return f"{self.base}/{repo}"

    def content_redirect(self, current: str, location: str, repo: RepoId, commit: CommitSha) -> str:
        """Return where a redirect of file content leads. Raises FetchError if nobody expects it."""
        target = _joined(current, location)
        origin = origin_of(target)
        if origin == self.origin:
            path = path_of(target)
            prefix = urlsplit(self.base).path
            expected = (
                f"{prefix}/api/resolve-cache/models/{repo}/{commit}/",
                f"{prefix}/{repo}/resolve/{commit}/",
            )
            if path.startswith(expected) and ".." not in path.split("/"):
                return target
        elif origin is not None and self.expects(origin):
            return target
        raise FetchError(
            f"the server redirects {safe_url(current)} to {safe_url(target)}, "
            "where nobody expects it",
            hint="if that host belongs to your Hub, list it in the policy: fetch.redirect_hosts",
        )

    def expects(self, origin: Origin) -> bool:
        """Whether file content may come from `origin`."""
        if self.origin.scheme == "https" and origin.scheme != "https":
            return False
        return any(
            origin.host.endswith(pattern[1:])
            if pattern.startswith("*.")
            else origin.host == pattern
            for pattern in self.redirect_hosts
        ) or (self.origin.is_loopback and origin.host == self.origin.host)
