"""The lock's self-test: hostile code that really tries to get out, and says what it reached.

Runs inside of the lock under test, as any hostile code would. The targets (a listener, a key file, a
log, a process to signal) are set up outside by `pratique.confine.probe`, which also checks from
outside that nothing arrived.
"""

import errno
import json
from collections.abc import Callable, Mapping

from pratique.jobs import escapes
from pratique.jobs.escapes import Escape, Targets

ESCAPES: dict[str, Escape] = {
    escape.__name__.replace("_", "-"): escape
    for escape in (
        escapes.tcp,
        escapes.tcp_listen,
        escapes.udp,
        escapes.dns,
        escapes.unix_socket,
        escapes.abstract_socket,
        escapes.socket_pair,
        escapes.raw_socket,
        escapes.netlink,
        escapes.io_uring,
        escapes.read_key,
        escapes.read_key_by_link,
        escapes.read_key_by_handle,
        escapes.list_directory,
        escapes.append_log,
        escapes.truncate_log,
        escapes.truncate_by_open,
        escapes.change_mode,
        escapes.write_outside,
        escapes.write_library,
        escapes.unlink_log,
        escapes.signal_parent,
        escapes.signal_by_owner,
        escapes.signal_all,
        escapes.ptrace_parent,
        escapes.read_parent_memory,
        escapes.read_parent_environment,
        escapes.read_parent_pages,
        escapes.steal_descriptor,
        escapes.fork_bomb,
        escapes.vfork,
        escapes.execute,
        escapes.execute_memory,
        escapes.outlive_parent,
        escapes.mount_file_system,
        escapes.new_user_namespace,
        escapes.join_namespace,
        escapes.bpf,
        escapes.userfaultfd,
        escapes.perf_events,
        escapes.kernel_keys,
        escapes.kernel_module,
        escapes.kexec,
        escapes.change_personality,
        escapes.shared_memory,
        escapes.raise_limits,
        escapes.dump_core,
        escapes.regain_capabilities,
        escapes.physical_memory,
    )
}


def run(request: bytes, note: Callable[[str], None]) -> bytes:
    """JSON `{"targets": {…}, "only": [ids]}` → JSON `{id: {"reached": text|null, "error": name}}`.

    An empty `only` means every escape.
    """
    asked = json.loads(request)
    targets = Targets(**asked["targets"])
    found: dict[str, object] = {}
    for name in asked["only"] or ESCAPES:
        note(name)
        found[name] = _attempt(ESCAPES[name], targets)
    return json.dumps(found).encode()


def _attempt(escape: Escape, targets: Targets) -> Mapping[str, object]:
    try:
        reached = escape(targets)
    except Exception as error:  # noqa: BLE001  # whatever stops it, it was stopped
        number = error.errno if isinstance(error, OSError) else None
        name = errno.errorcode.get(number, "") if number else ""
        return {"reached": None, "error": name or type(error).__name__}
    return {"reached": None if reached is None else str(reached), "error": ""}
