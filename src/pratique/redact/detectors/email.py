"""E-mail addresses, internal domains and other scripts included.

The rule: a local part, ``@`` and a host is an address, unless the text around it shows a
package pin, an image digest, a Git remote or a decorator.
"""

from pratique.redact.pattern import Pattern
from pratique.redact.skeleton import LETTER
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_ADDRESS = Pattern(
    rf"(\"[^\"\n@]{{1,64}}\"|[{LETTER}0-9._%+'!#$&*/=?^`{{|}}~\-]+)@"
    rf"(\[[0-9A-Fa-f.:IPv]{{3,45}}\]|[{LETTER}0-9\-_]+(?:\.[{LETTER}0-9\-_]+)*)",
    "@",
)
_HOST = Pattern(
    r"\d|-|local|host|mail|server|intranet|corp|internal|lan|srv|exchange|domain|home|office|company|example|gmail|yahoo|hotmail|outlook",
    ignore_case=True,
)
_HINT = Pattern(r"mail|to:|from:|cc:|contact|notify|alert|send|write", ignore_case=True)
_MAX_LOCAL, _MAX_HOST = 96, 255
_GIT_USERS = {b"git", b"hg", b"svn"}
_HEX = frozenset(b"0123456789abcdef")
_LEAD = b"'!#$&*/=?^`{|}~.-%"
_TRAIL = b"-_"


class EmailDetector:
    """Finds e-mail addresses."""

    name = "email"

    def find(self, view: View) -> list[Span]:
        """Return address spans; see `Detector.find`."""
        if b"@" not in view.skeleton:
            return []
        found = []
        for match in _ADDRESS.matches(view):
            (start, middle), (host, end) = match.span(1), match.span(2)
            skeleton = view.skeleton
            start = max(start, middle - _MAX_LOCAL)
            if skeleton[start] != 0x22:
                while start < middle and skeleton[start] in _LEAD:
                    start += 1
            while end > host and skeleton[end - 1] in _TRAIL:
                end -= 1
            if (
                start < middle
                and host < end <= host + _MAX_HOST
                and _is_address(skeleton, start, middle, host, end)
            ):
                found.append(Span(start, end, EntityType.EMAIL))
        return found


def _is_address(skeleton: bytes, start: int, middle: int, host: int, end: int) -> bool:
    local, domain = skeleton[start:middle], skeleton[host:end]
    after = skeleton[end : end + 1]
    labels = domain.split(b".")
    if domain[:1] == b"[":
        return True
    if after == b"(":
        return False  # a method of an object
    if all(label.isdigit() for label in labels):  # name@1.2.3 is a package; user@10.0.0.1 is not
        return len(labels) == 4 and after not in {b".", b"-"}
    if labels[0][:1] in {b"v", b"V"} and labels[0][1:].isdigit():
        return False
    if labels[0].isdigit() and not labels[-1].isalpha():
        return False
    if after == b":" and (local in _GIT_USERS or (domain == b"sha256")):
        return False
    if local in _GIT_USERS and len(labels) > 1 and after in {b"", b"/", b" ", b"\n", b"'", b'"'}:
        return False
    if len(labels) == 1:
        if b"/" in local or (
            any(0x30 <= c <= 0x39 for c in domain) and set(domain.lower()) <= _HEX
        ):
            return False  # a repository at a commit
        return _is_internal(local, domain, skeleton[start - 1 : start], after) and (
            _HOST.regexp.search(domain) is not None
            or any(c in b"._0123456789" for c in local)
            or _HINT.regexp.search(skeleton, max(0, start - 24), start) is not None
        )
    return len(labels[-1]) > 1 and not labels[-1].isdigit()


def _is_internal(local: bytes, domain: bytes, before: bytes, after: bytes) -> bool:
    """Accept ``user@host`` without a dot, which handles, pins and prompts also look like."""
    if before in {b"/", b"@", b"-", b"."} or after in {b":", b"(", b"/", b"@", b"#", b"^", b"~"}:
        return False
    if domain.lower() in {b"latest", b"next", b"main", b"master", b"head", b"beta", b"stable"}:
        return False
    return len(domain) > 1 and domain[:1].isalpha() and any(c > 0x40 for c in local)
