"""Run as a program: becomes a host of a given kind, probes the lock there, prints the report.

Kinds, in the JSON object of its only argument:
    uid              become this ordinary user first (needs root)
    nested           do it inside a user namespace
    forbidden        user namespaces are switched off (user.max_user_namespaces = 0), and ...
    capabilities     ... "none", or "no-admin": root without CAP_SYS_ADMIN, as in a container
    private_network  the surrounding network has only a loopback
    refuse           system calls that this kernel refuses or does not have: "mount", "landlock",
                     "seccomp", "mount_setattr", "pivot_root"
    requirement      "strict" or "reduced"
"""

import ctypes
import json
import os
import sys
from pathlib import Path


def main() -> None:
    order = json.loads(sys.argv[1])
    sys.path.insert(0, order.get("source", str(Path(__file__).parent.parent.parent / "src")))
    if order.get("only") == "try":
        _user_namespace(network=False, many=False)
        return
    uid = order.get("uid")
    if uid:
        from pratique.confine import linux

        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)
    if order.get("nested") or order.get("forbidden"):
        private = bool(order.get("private_network"))
        _user_namespace(network=private, many=order.get("capabilities") == "no-admin")
    if order.get("forbidden"):
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        _drop(order["capabilities"])
    _refuse(order.get("refuse", []))
    _probe(order)


def _user_namespace(*, network: bool, many: bool) -> None:
    from pratique.confine import linux
    from pratique.confine.linux import Namespace

    uid, gid = os.geteuid(), os.getegid()
    if many:
        return _user_namespace_of_many()
    linux.unshare(Namespace.USER | (Namespace.NET if network else Namespace(0)))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    return None


def _user_namespace_of_many() -> None:
    """Many ids, so that root inside can become another one; only root outside can map them."""
    from pratique.confine import linux

    ready, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child:
        os.read(ready[0], 1)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{name}").write_text("0 0 70000")
        os.write(mapped[1], b"x")
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    linux.unshare(linux.Namespace.USER)
    os.write(ready[1], b"x")
    os.read(mapped[0], 1)


def _drop(what: str) -> None:
    from pratique.confine import linux

    if what == "none":
        linux.drop_capabilities()
        return
    cap_sys_admin = 21
    linux.prctl(linux.PR_CAPBSET_DROP, cap_sys_admin)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    libc.capget(header, data)
    for at in range(3):
        data[at] &= ~(1 << cap_sys_admin)
    assert libc.capset(header, data) == 0


def _refuse(names: list[str]) -> None:
    """By a filter that children inherit: the only way to take a call from a kernel that has it."""
    if not names:
        return
    from pratique.confine import linux

    absent, forbidden = 38, 1
    calls = {
        "x86_64": {"mount": 165, "pivot_root": 155, "seccomp": 317},
        "aarch64": {"mount": 40, "pivot_root": 41, "seccomp": 277},
    }[linux.architecture()] | {"landlock": 444, "mount_setattr": 442}
    program = [(0x20, 0, 0, 0)]
    for name in names:
        error = absent if name in {"landlock", "seccomp", "mount_setattr"} else forbidden
        program += [(0x15, 0, 1, calls[name]), (0x06, 0, 0, 0x00050000 | error)]
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.install_filter([*program, (0x06, 0, 0, 0x7FFF0000)])


def _probe(order: dict) -> None:
    sys.executable = order["python"]
    from pratique.confine.lock import Requirement
    from pratique.confine.probe import probe

    print(json.dumps(probe(Requirement(order.get("requirement", "reduced"))).to_json()))


if __name__ == "__main__":
    main()
