"""The ways out that the self-test tries, each as hostile code would: the plainest call that does it.

An escape returns what it got hold of. Raising, or returning nothing, means that it was refused.
Harmless where it succeeds: the targets are made for the purpose, signals are ones that are ignored.
"""

# One signature for all escapes, names that say what is tried, the plainest calls a thief would use:
# ruff: noqa: ARG001, D103, PTH101, PTH108, PTH118, PTH123, PTH208, PTH211, S606

import ctypes
import errno
import json
import os
import platform
import resource
import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_CLONE_NEWUSER = 0x10000000
# Raw calls: x86_64, aarch64
_CALLS = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "memfd_create": (319, 279),
    "execveat": (322, 281),
    "open_by_handle_at": (304, 265),
    "mount": (165, 40),
    "setns": (308, 268),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "init_module": (175, 105),
    "kexec_load": (246, 104),
    "personality": (135, 92),
    "shmget": (29, 194),
    "shmctl": (31, 195),
    "io_uring_setup": (425, 425),
    "pidfd_open": (434, 434),
}


@dataclass(frozen=True, slots=True)
class Targets:
    """What there is to reach outside: loopback ports, sockets, files, a process."""

    tcp_port: int
    udp_port: int
    unix_path: str
    abstract_name: str
    key: str
    log: str
    directory: str
    pid: int


Escape = Callable[[Targets], object]


def _call(name: str, *arguments: object) -> int:
    """A raw system call; raises OSError as the kernel answers."""
    number = _CALLS[name][0 if platform.machine() == "x86_64" else 1]
    longs = [ctypes.c_long(x) if isinstance(x, int) else x for x in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *longs))
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


# -- network -----------------------------------------------------------------------------------


def tcp(targets: Targets) -> object:
    with socket.create_connection(("127.0.0.1", targets.tcp_port), timeout=2):
        return "connected"


def tcp_listen(targets: Targets) -> object:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        return "listens"


def udp(targets: Targets) -> object:
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        return sender.sendto(b"out", ("127.0.0.1", targets.udp_port))


def dns(targets: Targets) -> object:
    """A resolver asks over UDP, port 53; the socket alone is what it needs."""
    query = (
        struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + b"\x07example\x00" + struct.pack(">2H", 1, 1)
    )
    with socket.socket(type=socket.SOCK_DGRAM) as resolver:
        return resolver.sendto(query, ("127.0.0.1", targets.udp_port))


def unix_socket(targets: Targets) -> object:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(targets.unix_path)
        return "connected"


def abstract_socket(targets: Targets) -> object:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + targets.abstract_name)
        return "connected"


def socket_pair(targets: Targets) -> object:
    """A Unix datagram pair can be sent to any address."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        return "made"


def raw_socket(targets: Targets) -> object:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW):
        return "made"


def netlink(targets: Targets) -> object:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW):
        return "made"


def io_uring(targets: Targets) -> object:
    return _call("io_uring_setup", 8, ctypes.create_string_buffer(120))


# -- files -------------------------------------------------------------------------------------


def _read(path: str) -> object:
    with open(path, "rb") as file:
        return file.read(16)


def read_key(targets: Targets) -> object:
    return _read(targets.key)


def read_key_by_link(targets: Targets) -> object:
    link = os.path.join(os.environ["TMPDIR"], "link")
    os.symlink(targets.key, link)
    return _read(link)


def read_key_by_handle(targets: Targets) -> object:
    """As in the container escape "shocker": by inode number, past every path rule."""
    handle = struct.pack("<IiQ", 8, 1, 2)
    root = os.open("/usr/lib", os.O_RDONLY)
    try:
        return _call("open_by_handle_at", root, ctypes.create_string_buffer(handle), os.O_RDONLY)
    except OSError as error:
        # Refused for want of the right to try, or tried in vain: only the first is a lock.
        return None if error.errno in {errno.EPERM, errno.ENOSYS} else "tried"
    finally:
        os.close(root)


def list_directory(targets: Targets) -> object:
    return os.listdir(targets.directory)


def append_log(targets: Targets) -> object:
    with open(targets.log, "ab") as file:
        return file.write(b"forged\n")


def truncate_log(targets: Targets) -> object:
    os.truncate(targets.log, 0)
    return "truncated"


def truncate_by_open(targets: Targets) -> object:
    """O_TRUNC with O_RDONLY passed Landlock before its third version."""
    os.close(os.open(targets.log, os.O_RDONLY | os.O_TRUNC))
    return "truncated"


def change_mode(targets: Targets) -> object:
    os.chmod(targets.key, 0o644)
    return "changed"


def write_outside(targets: Targets) -> object:
    with open(os.path.join(targets.directory, "planted"), "wb") as file:
        return file.write(b"x")


def write_library(targets: Targets) -> object:
    os.close(os.open(json.__file__, os.O_WRONLY))
    return "opened"


def unlink_log(targets: Targets) -> object:
    os.unlink(targets.log)
    return "removed"


# -- processes ---------------------------------------------------------------------------------


def signal_parent(targets: Targets) -> object:
    os.kill(targets.pid, signal.SIGURG)  # ignored by default: a proof that does no harm
    return "sent"


def signal_by_owner(targets: Targets) -> object:
    """F_SETOWN and F_SETSIG make the kernel send any signal to any process of the same user."""
    import fcntl

    reader, writer = os.pipe()
    f_setsig, o_async = 10, 0x2000
    fcntl.fcntl(reader, fcntl.F_SETOWN, targets.pid)
    fcntl.fcntl(reader, f_setsig, signal.SIGURG)
    fcntl.fcntl(reader, fcntl.F_SETFL, o_async)
    return os.write(writer, b"x")


def signal_all(targets: Targets) -> object:
    os.kill(-1, 0)
    return "sent"


def ptrace_parent(targets: Targets) -> object:
    seize = 0x4206
    return _call("ptrace", seize, targets.pid, 0, 0)


def read_parent_memory(targets: Targets) -> object:
    return _read(f"/proc/{targets.pid}/mem")


def read_parent_environment(targets: Targets) -> object:
    return _read(f"/proc/{targets.pid}/environ")


def read_parent_pages(targets: Targets) -> object:
    """process_vm_readv of nothing: answers EPERM if forbidden, 0 if it may."""
    return _call("process_vm_readv", targets.pid, 0, 0, 0, 0, 0)


def steal_descriptor(targets: Targets) -> object:
    return _call("pidfd_open", targets.pid, 0)


def fork_bomb(targets: Targets) -> object:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "forked"


def vfork(targets: Targets) -> object:
    import subprocess

    return subprocess.run(["/bin/true"], check=False).returncode == 0 or None


def execute(targets: Targets) -> object:
    """An exec that succeeds would end this very program: a program that is not there tells enough."""
    try:
        os.execv("/usr/nothing/here", ["x"])
    except OSError as error:
        return None if error.errno in {errno.EPERM, errno.EACCES} else "tried"


def execute_memory(targets: Targets) -> object:
    """A file without a name, run by descriptor."""
    descriptor = _call("memfd_create", b"x", 0)
    os.write(descriptor, b"not a program")
    empty_path = 0x1000
    try:
        return _call("execveat", descriptor, b"", None, None, empty_path)
    except OSError as error:
        return "tried" if error.errno == errno.ENOEXEC else None


def outlive_parent(targets: Targets) -> object:
    set_death_signal = 1
    if _libc.prctl(set_death_signal, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    return "would outlive"


# -- kernel ------------------------------------------------------------------------------------


def mount_file_system(targets: Targets) -> object:
    return _call("mount", b"none", os.fsencode(targets.directory), b"tmpfs", 0, None)


def new_user_namespace(targets: Targets) -> object:
    if _libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    return "entered"


def join_namespace(targets: Targets) -> object:
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        return _call("setns", descriptor, 0)
    except OSError as error:
        # Without the right of an administrator it is refused anyhow; a lock refuses before that.
        return None if error.errno == errno.EPERM else "tried"
    finally:
        os.close(descriptor)


def bpf(targets: Targets) -> object:
    return _call("bpf", 0, ctypes.create_string_buffer(struct.pack("<4I", 2, 4, 4, 1), 128), 128)


def userfaultfd(targets: Targets) -> object:
    user_mode_only = 1
    return _call("userfaultfd", user_mode_only)


def perf_events(targets: Targets) -> object:
    exclude_kernel = 1 << 5
    attributes = struct.pack("<IIQQQQQ", 1, 120, 0, 0, 0, 0, exclude_kernel)
    return _call("perf_event_open", ctypes.create_string_buffer(attributes, 120), 0, -1, -1, 0)


def kernel_keys(targets: Targets) -> object:
    process_keyring = -2
    return _call("add_key", b"user", b"pratique", b"x", 1, process_keyring)


def kernel_module(targets: Targets) -> object:
    return _call("init_module", b"x", 1, b"")


def kexec(targets: Targets) -> object:
    return _call("kexec_load", 0, 0, None, 0)


def change_personality(targets: Targets) -> object:
    no_randomisation = 0x0040000
    return _call("personality", no_randomisation)


def shared_memory(targets: Targets) -> object:
    """System V memory outlives the process that made it, and is found by its number."""
    create, remove = 0o1600, 0
    segment = _call("shmget", 0, 4096, create)
    return _call("shmctl", segment, remove, None)


def raise_limits(targets: Targets) -> object:
    resource.setrlimit(resource.RLIMIT_CORE, (1, resource.RLIM_INFINITY))
    return "raised"


def dump_core(targets: Targets) -> object:
    """A core file would carry the model and the prompts to disk."""
    get_dumpable = 3
    core = resource.getrlimit(resource.RLIMIT_CORE) != (0, 0)
    return "would dump" if core and _libc.prctl(get_dumpable, 0, 0, 0, 0) else None


def regain_capabilities(targets: Targets) -> object:
    with open("/proc/self/status", encoding="ascii") as lines:
        fields = dict(line.split(":", 1) for line in lines)
    held = [name for name in ("CapEff", "CapPrm", "CapInh", "CapAmb") if int(fields[name], 16)]
    return ", ".join(held) or None


def physical_memory(targets: Targets) -> object:
    return _read("/dev/mem")
