"""URLs and connection strings that carry a credential.

The rule: where a URL names a user with a password or token, or a query or fragment parameter
holds one, the URL is taken whole: host, port and path of an authenticated place are a finding
too, and half a URL is easily completed.
"""

from pratique.redact.pattern import Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_USERINFO = Pattern(r"[A-Za-z][A-Za-z0-9+.\-]{1,30}:(?:[A-Za-z0-9]{1,20}:)?//(?:[^\s\"'<>`/?#@]*(?:/[^\s\"'<>`/?#@]*){0,3}|[^\s\"'<>`/?#@:]*:[^\s\"'<>`/@]*)@[^\s\"'<>`]+", "//")
_QUERY = Pattern(
    r"(?:[A-Za-z][A-Za-z0-9+.\-]{1,30}://|www\.|/)[^\s\"'<>`]{0,1500}?[?&#;](?:[a-z0-9_.\-]{0,30}(?:token|secret|passw(?:or)?d|passwd|pwd|api_?-?key|access_?-?key|signature|credential|auth|session_?id|jsessionid|phpsessid|client_secret|refresh)|sig|key|pw|pass|sid|code|x-amz-[a-z\-]+|jwt|otp)=([^\s\"'<>`&#;]+)[^\s\"'<>`]*",
    "=",
    ignore_case=True,
)
_PLAIN = Pattern(r"[A-Za-z0-9._%+\-]{1,64}:[^\s\"'<>`/?#@:]{3,100}@(?:[A-Za-z0-9\-]+\.)+[A-Za-z]{2,20}(?::\d{1,5})?(?:/[^\s\"'<>`]*)?", "@")
_TRAIL = b".,;:!?)]}"
_PLACEHOLDER = Pattern(r"(?:<[^<>]{1,40}>|\$\{?[A-Za-z_][A-Za-z0-9_]*\}?|\{\{?[^{}]{1,40}\}\}?|\*{3,}|x{4,}|\[[A-Z]{3,20}(?::[^\]]*)?\])", ignore_case=True)
_MIN_VALUE = 6


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
            if not view.skeleton[start:end].lower().startswith((b"mailto:", b"sip:", b"xmpp:", b"tel:")):
                found.append(Span(start, end, EntityType.URL_CREDENTIAL))
        for match in _QUERY.matches(view):
            start, end = _trimmed(view, *match.span())
            value = match.start(1)
            if match.end(1) - value >= _MIN_VALUE and not _PLACEHOLDER.at(view, value):
                found.append(Span(start, end, EntityType.URL_CREDENTIAL))
        return found


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
        return len(user) >= 20 or scheme.startswith((b"http", b"ftp")) and user not in {b"git", b"hg"} and b"/" not in user
    at = start + token.index(password, len(scheme) + len(user)) if password else start
    return bool(password or user) and not (password and _PLACEHOLDER.at(view, at, at + len(password)) and len(_PLACEHOLDER.at(view, at, at + len(password)).group()) == len(password))
