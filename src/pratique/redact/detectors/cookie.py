"""Cookies: request and response headers, and session identifiers by name.

The rule: a cookie header is taken with its name to the end of its line or quotation, because
any of its parts may be the one that opens the session.
"""

from pratique.redact.pattern import Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_HEADER = Pattern(
    r"(?:^|[^A-Za-z0-9])((?:set-?_?|http_|x-)?cookies?2?[\"']?\s{0,3}(?:[:=]|=>|,)\s{0,3}([^\r\n]*))",
    "cookie",
    ignore_case=True,
)
_PAIR = Pattern(r"[A-Za-z0-9_.$\-%]+=[^\s;,\"']+")
_NAMED = Pattern(
    r"(?:^|[^A-Za-z0-9_\-])((?:jsessionid|phpsessid|asp\.net_sessionid|aspsessionid[a-z]*|connect\.sid|laravel_session|ci_session|_?session_?id|sessionid|session_?token|sess_?id|sid|csrftoken|xsrf-token|csrf_token|_csrf|__host-[a-z0-9_\-]+|__secure-[a-z0-9_\-]+|wordpress_logged_in_[a-z0-9]*|remember_token|_ga|_gid|auth_cookie|authcookie|sails\.sid|symfony|cfduid|__cfduid|_fbp|nid|hsid|ssid|sapisid)[\"']?\s{0,2}[:=]\s{0,2}[\"']?([^\s;,\"'&<>]{6,4000}))",
    "=",
    ":",
    ignore_case=True,
)
_CURL = Pattern(
    r"(?:^|\s)(?:-b|--cookie)[ =]([\"']?)([A-Za-z0-9_.\-]+=[^\"'\r\n]{3,4000})", "-b", "--cookie"
)
_CODE = Pattern(
    r"(?:none|null|true|false|required|os\.|request|req\.|self\.|get|str|string|\$|\{|<|\()",
    ignore_case=True,
)


class CookieDetector:
    """Finds cookies."""

    name = "cookie"

    def find(self, view: View) -> list[Span]:
        """Return cookie spans; see `Detector.find`."""
        found = []
        for match in _HEADER.matches(view):
            start, (value, end) = match.start(1), match.span(2)
            end = _closed(view.skeleton, value, end)
            if _PAIR.regexp.search(view.skeleton, value, end) and not _is_code(view, value):
                found.append(Span(start, end, EntityType.COOKIE))
        for match in _NAMED.matches(view):
            value, end = match.span(2)
            token = view.skeleton[value:end]
            if not _CODE.at(view, value) and any(0x30 <= c <= 0x39 for c in token):
                found.append(Span(match.start(1), end, EntityType.COOKIE))
        found += [Span.of(match.span(2), EntityType.COOKIE) for match in _CURL.matches(view)]
        return found


def _is_code(view: View, value: int) -> bool:
    return _CODE.at(view, value) is not None


def _closed(skeleton: bytes, value: int, end: int) -> int:
    """Stop at the quotation mark that closes the header's value."""
    opener = skeleton[value : value + 1]
    before = skeleton[max(0, value - 200) : value].rpartition(b"\n")[2]
    if opener in {b'"', b"'"}:
        close = skeleton.find(opener, value + 1, end)
        return end if close < 0 else close
    for mark in (b"'", b'"'):
        if before.count(mark) % 2:
            close = skeleton.find(mark, value, end)
            if close >= 0:
                return close
    return end
