"""URLs and connection strings that carry a credential.

The rule: where a URL names a user with a password or token, or a query or fragment parameter
holds one, the URL is taken whole: host, port and path of an authenticated place are a finding
too, and half a URL is easily completed.
"""

from pratique.redact.pattern import Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_USERINFO = Pattern(
    r"[A-Za-z][A-Za-z0-9+.\-]{1,30}:(?:[A-Za-z0-9]{1,20}:)?//(?:[^\s\"'<>`/?#@]*(?:/[^\s\"'<>`/?#@]*){0,3}|[^\s\"'<>`/?#@:]*:[^\s\"'<>`/@]*)@[^\s\"'<>`]+",
    "//",
)
_PARAMETER = Pattern(
    r"[?&#;](?:[a-z0-9_.\-]{0,30}(?:token|secret|passw(?:or)?d|passwd|pwd|api_?-?key|access_?-?key|signature|credential|auth|session_?id|jsessionid|phpsessid|client_secret|refresh)|sig|key|pw|pass|sid|code|x-amz-[a-z\-]{1,30}|jwt|otp)=",
    "=",
    ignore_case=True,
)
_PLAIN = Pattern(
    r"[A-Za-z0-9._%+\-]{1,64}:[^\s\"'<>`/?#@:]{3,100}@(?:[A-Za-z0-9\-]+\.)+[A-Za-z]{2,20}(?::\d{1,5})?(?:/[^\s\"'<>`]*)?",
    "@",
)
_TRAIL = b".,;:!?)]}"
_PLACEHOLDER = Pattern(
    r"(?:<[^<>]{1,40}>|\$\{?[A-Za-z_][A-Za-z0-9_]*\}?|\{\{?[^{}]{1,40}\}\}?|\*{3,}|x{4,}|\[[A-Z]{3,20}(?::[^\]]*)?\])",
    ignore_case=True,
)
_MIN_VALUE = 6
_MAX_URL = 2000
_OUTSIDE = b" \t\r\n\"'<>`\x0b\x0c"


class UrlDetector:
    """Finds URLs with credentials."""

    name = "url"

    def find(self, view: View) -> list[Span]:
        """Return URL spans; see `Detector.find`."""
        if b"@" not in view.skeleton and b"=" not in view.skeleton:
            return []
        found = []
        for match in _USERINFO.matches(view):
            start, end = _trimmed(view, *match.span())
            if _has_secret(view, start, end):
                found.append(Span(start, end, EntityType.URL_CREDENTIAL))
        for match in _PLAIN.matches(view):
            start, end = _trimmed(view, *match.span())
            if (
                not view.skeleton[start:end]
                .lower()
                .startswith((b"mailto:", b"sip:", b"xmpp:", b"tel:"))
            ):
                found.append(Span(start, end, EntityType.URL_CREDENTIAL))
        at = 0
        for match in _PARAMETER.matches(view):
            if match.start() >= at and (url := _around(view, match.start(), match.end())):
                at = url[1]
                found.append(Span.of(url, EntityType.URL_CREDENTIAL))
        return found


def _around(view: View, mark: int, value: int) -> tuple[int, int] | None:
    """Return the URL whose parameter has its value at ``value``, or None when it has none."""
    skeleton = view.skeleton
    head = skeleton[value : value + _MIN_VALUE]
    if len(head) < _MIN_VALUE or any(c in _OUTSIDE or c in b"&#;" for c in head):
        return None
    if _PLACEHOLDER.at(view, value):
        return None
    low = max(0, mark - _MAX_URL)
    start = low + 1 + max(skeleton[low:mark].rfind(c) for c in _OUTSIDE)
    url = skeleton[start:mark]
    if b"/" not in url and not url.startswith(b"www."):
        return None
    at = max(url.rfind(b"http"), 0) if b"://" in url else 0
    end = value
    while end < len(skeleton) and skeleton[end] not in _OUTSIDE:
        end += 1
    return _trimmed(view, start + at, end)


def _trimmed(view: View, start: int, end: int) -> tuple[int, int]:
    while end > start and view.skeleton[end - 1] in _TRAIL:
        end -= 1
    return start, end


def _has_secret(view: View, start: int, end: int) -> bool:
    """A user alone (``ssh://git@host``) is no secret, unless it reads like a token."""
    token = view.skeleton[start:end]
    scheme, _, rest = token.partition(b"//")
    userinfo = rest.rpartition(b"@")[0]
    user, colon, password = userinfo.partition(b":")
    if not colon:
        return len(user) >= 20 or (
            scheme.startswith((b"http", b"ftp"))
            and user not in {b"git", b"hg"}
            and b"/" not in user
        )
    at = start + token.index(password, len(scheme) + len(user)) if password else start
    hidden = _PLACEHOLDER.at(view, at, at + len(password)) if password else None
    return bool(password or user) and (hidden is None or len(hidden.group()) < len(password))
