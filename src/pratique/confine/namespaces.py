"""Namespaces of the child's own: users, network, processes, IPC, host name; and a view of files.

`enter` moves this process (its children, as to processes) into new namespaces, all or none. An
ordinary user needs a user namespace for the others; root goes without it where it must.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from pratique.confine import linux
from pratique.confine.linux import Namespace
from pratique.confine.result import Layer

_OTHERS = Namespace.NET | Namespace.PID | Namespace.IPC | Namespace.UTS
_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Entered:
    """What `enter` reached: the layers to report, and whether mounts and process ids are ours."""

    layers: tuple[Layer, ...]
    complete: bool


def enter() -> Entered:
    """Unshares users, network, process ids, IPC and host name; the next fork is process 1 there.

    Guarantees all of network, pid and IPC, or none. Must run before any thread is started.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        linux.unshare(Namespace.USER | _OTHERS)
        _map_ids(uid, gid)
        return _entered(Layer("user", held=True, detail="own user namespace"))
    except OSError as error:
        reason = why_forbidden(error.errno or 0)
    try:
        linux.unshare(_OTHERS)
        return _entered(Layer("user", held=False, detail=reason))
    except OSError:
        absent = [Layer(name, held=False, detail=reason) for name in ("user", "pid", "ipc")]
        return Entered((*absent, _surrounding_network(reason)), complete=False)


def why_forbidden(number: int) -> str:
    """Why this host refuses user namespaces, as far as it tells."""
    if _kernel_setting("user/max_user_namespaces") == "0":
        return "user.max_user_namespaces is 0"
    if _kernel_setting("kernel/unprivileged_userns_clone") == "0":
        return "kernel.unprivileged_userns_clone is 0"
    if _kernel_setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "kernel.apparmor_restrict_unprivileged_userns is 1"
    if linux.status_field("Seccomp") == "2":
        return "the container's seccomp profile refuses namespaces"
    return f"the kernel refuses namespaces ({errno.errorcode.get(number, number)})"


def remedy() -> str:
    """What an administrator can do where namespaces are refused: one line."""
    settings = {
        "user.max_user_namespaces": ("user/max_user_namespaces", "0", "10000"),
        "kernel.unprivileged_userns_clone": ("kernel/unprivileged_userns_clone", "0", "1"),
        "kernel.apparmor_restrict_unprivileged_userns": (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "0",
        ),
    }
    for name, (path, bad, good) in settings.items():
        if _kernel_setting(path) == bad:
            return f"ask the administrator for `sysctl -w {name}={good}`, or {_UNIT}"
    return f"allow user namespaces to this container or user, or {_UNIT}"


_UNIT = "run under the shipped unit packaging/pratique-serve.service, or permit `reduced` in policy"


def private_network() -> bool:
    """Whether this process's network reaches nobody: no interface but the loopback.

    Reads what the kernel shows of this very namespace, so that an outer lock counts (a service unit
    with a private network, a container without one).
    """
    try:
        lines = Path("/proc/self/net/dev").read_text(encoding="ascii").splitlines()
        names = [line.split(":")[0].strip() for line in lines if ":" in line]
    except OSError:
        return False
    # Tunnel templates (sit0, tunl0, …) exist in every namespace and are down; they carry no route.
    return all(name == "lo" or _is_down(name) for name in names)


def _is_down(interface: str) -> bool:
    try:
        return (
            int(Path(f"/sys/class/net/{interface}/flags").read_text(encoding="ascii"), 16) & 1 == 0
        )
    except (OSError, ValueError):
        return False


def _entered(user: Layer) -> Entered:
    layers = (
        user,
        Layer("network", held=True, detail="own network namespace, no interface up"),
        Layer("pid", held=True, detail="own process namespace"),
        Layer("ipc", held=True, detail="own IPC and host name"),
    )
    return Entered(layers, complete=True)


def _surrounding_network(reason: str) -> Layer:
    if private_network():
        return Layer("network", held=True, detail="the surrounding network has only a loopback")
    return Layer("network", held=False, detail=reason)


def _map_ids(uid: int, gid: int) -> None:
    """The one user outside is the one user inside; root is shown as nobody, having no rights."""
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid or _NOBODY} {uid} 1")
    _write("/proc/self/gid_map", f"{gid or _NOBODY} {gid} 1")


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def _kernel_setting(name: str) -> str:
    try:
        return Path(f"/proc/sys/{name}").read_text(encoding="ascii").strip()
    except OSError:
        return ""
