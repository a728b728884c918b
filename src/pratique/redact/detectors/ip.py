"""IPv4 and IPv6 addresses.

The rule: four numbers are an address unless the words around say that they are a version; a
loopback, unspecified or mask address tells nothing about anybody and stays.
"""

import ipaddress

from pratique.redact.pattern import Keywords, Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_V4 = Pattern(r"\d{1,4}(?:\.\d{1,4}){3}(?:/\d{1,2})?")
_V6 = Pattern(
    r"(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{0,4}|\d{1,3}(?:\.\d{1,3}){3})(?:%[A-Za-z0-9]{1,15})?(?:/\d{1,3})?",
    ":",
)
_VERSION = Keywords(
    "version", "versions", "tested with", "tested on", "builds", "compatible with", "supports", "ver", "v", "release", "released", "build", "firmware", "driver",
    "upgrade", "upgraded", "update", "updated", "downgrade", "patch", "patched", "section", "sect", "chapter",
    "clause", "paragraph", "figure", "fig", "table", "oid", "sdk", "kernel", "revision", "rev",
    "assembly", "assemblyversion", "fileversion", "chrome", "chromium", "edge", "opera", "nvidia", "numpy", "package", "requires",
    "版本", "バージョン", "버전", "версия", "версии", "wersja", "versao", "versione", "bios", "toolkit", "cuda",
)  # fmt: skip
_ADDRESS = Keywords(
    "ip", "ipv4", "ips", "addr", "address", "host", "server", "client", "remote", "from", "adresse", "adres", "direccion",
    "ping", "ssh", "gateway", "dns", "peer", "src", "dst", "source", "login", "subnet", "endereco", "indirizzo",
    "адрес", "地址", "アドレス", "주소",
)  # fmt: skip
_MASKS = (b"255.255.", b"0.0.0.0", b"127.")
_BAD_BEFORE = b"._-"


class IpDetector:
    """Finds IP addresses."""

    name = "ip"

    def find(self, view: View) -> list[Span]:
        """Return address spans; see `Detector.find`."""
        found = []
        if view.skeleton.count(b".") >= 3:
            found += [
                Span.of(m.span(), EntityType.IP)
                for m in _V4.matches(view)
                if _is_v4(view, *m.span())
            ]
        if view.skeleton.count(b":") >= 2:
            for match in _V6.matches(view):
                start, end = match.span()
                if size := _v6_size(view, start, end):
                    found.append(Span(start, start + size, EntityType.IP))
        return found


def _is_v4(view: View, start: int, end: int) -> bool:
    skeleton = view.skeleton
    before, after = skeleton[start - 1 : start] if start else b"", skeleton[end : end + 2]
    if before.isalnum() or (before and before in _BAD_BEFORE) or before > b"\x7f":
        return (
            before in {b"-", b"_"}
            and _is_host_name(skeleton, start)
            and _numbers(skeleton[start:end])
        )
    if after[:1].isalnum() or (after[:1] in {b".", b"-", b"_", b"+"} and after[1:2].isalnum()):
        return False
    address = skeleton[start:end].split(b"/")[0]
    if not _numbers(address) or address.startswith(_MASKS):
        return False
    if before in {b"=", b">", b"<", b"~", b"^"} and skeleton[start - 2 : start - 1] in {
        b"=",
        b">",
        b"<",
        b"~",
        b"!",
    }:
        return False
    version = _VERSION.before(view, start, 24)
    if version is None:
        return not _follows_a_product(view, start, address)
    address_word = _ADDRESS.before(view, start, 24)
    return address_word is not None and address_word > version


_PLAIN = frozenset(
    b"a access allow and are at attacker ban banned block blocked box by camera client cluster connect connected connecting container database db deny destination device dns domain dst endpoint eth firewall for from gateway host hosts http https in instance interface into is it its machine master my nameserver network nic node nodes of on or origin peer ping pinged pod port printer proxy reach reached replica request resolver route router server servers slave source src ssh subnet switch target telnet that the to traceroute traffic use used user using via visitor vm vpn was with worker".split()
)
_LOW_FIRST, _LOW_REST = 30, 100


def _follows_a_product(view: View, start: int, address: bytes) -> bool:
    """Say whether small numbers stand right behind a name: ``cudnn 8.9.7.29``."""
    parts = address.split(b".")
    if any(len(p) > 1 and p[:1] == b"0" for p in parts):
        return True
    if int(parts[0]) > _LOW_FIRST or parts[0] == b"10" or any(int(p) >= _LOW_REST for p in parts):
        return False
    if view.skeleton[start - 1 : start] != b" " or len(set(parts)) == 1:
        return False
    word = view.skeleton[max(0, start - 24) : start - 1].rpartition(b" ")[2].lower()
    return word.isalpha() and word not in _PLAIN and _ADDRESS.before(view, start, 24) is None


def _is_host_name(skeleton: bytes, start: int) -> bool:
    return skeleton[max(0, start - 3) : start - 1].lower().endswith(b"ip")


def _numbers(address: bytes) -> bool:
    parts = address.split(b"/")[0].split(b".")
    return all(len(p) <= 3 and int(p) <= 255 for p in parts)


def _v6_size(view: View, start: int, end: int) -> int:
    """Return how long the address at ``start`` is, or 0 when it is none."""
    skeleton = view.skeleton
    before, after = skeleton[start - 1 : start] if start else b"", skeleton[end : end + 1]
    if (
        before.isalnum()
        or before in {b":", b"_", b".", b"-"}
        or after.isalnum()
        or after in {b":", b"_"}
    ):
        return 0
    text = skeleton[start:end].decode("latin-1")
    body = text.split("/")[0].split("%")[0]
    trimmed = body[:-1] if body.endswith(":") and not body.endswith("::") else body
    try:
        address = ipaddress.IPv6Address(trimmed)
    except ValueError:
        return 0
    if address.is_loopback or address.is_unspecified:
        return 0
    groups = [g for g in trimmed.replace(".", ":").split(":") if g]
    if len(groups) < 2 or sum(map(len, groups)) < 4:  # a::b in code
        return 0
    if all(len(g) <= 2 and g.isdigit() for g in groups) and "::" not in trimmed and len(groups) < 8:
        return 0
    return len(trimmed) if trimmed != body else len(text)
