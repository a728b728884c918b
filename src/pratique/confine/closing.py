"""Closing the lock, in its order, on the calling process: the page a reviewer reads first.

    1. mount view          the tree of granted paths (own mount namespace)
    2. another uid         only where namespaces are refused and root runs the parent
    3. no new privileges   set-uid programs and file capabilities mean nothing from here on
    4. Landlock            file accesses by path; TCP; signals
    5. limits              memory, CPU, files, processes; no core dump
    6. capabilities        none left, none to be had
    7. system calls        seccomp, last, because all of the above needs calls that it refuses

Network, process and IPC namespaces were entered by the parent process (namespaces.enter). A layer
that cannot be closed is reported as not held; whether that is enough, `enough` decides. No thread
may run yet, and no foreign byte has been read.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pratique.confine import grants, landlock, limits, linux, seccomp, view
from pratique.confine.grants import Grant
from pratique.confine.landlock import Access
from pratique.confine.lock import Lock, Requirement
from pratique.confine.namespaces import Entered
from pratique.confine.result import Confinement, Form, Layer

# An id of no account: outside what Debian, Fedora and systemd hand out (65520 to 65533).
OTHER_UID = 65529


class ClosedLock:
    """The steps of one start; each adds its layer. `layers` is what held so far."""

    def __init__(self, lock: Lock, entered: Entered, spare_scratch: str) -> None:
        """Takes what is reached so far, and a free name for a scratch directory outside a view."""
        self._lock = lock
        self._entered = entered
        self._spare_scratch = spare_scratch
        self.scratch = ""
        self.layers: list[Layer] = list(entered.layers)
        self._landlock_abi = 0

    def close_files(self) -> None:
        """Steps 1 to 6: everything but the system calls."""
        granted = grants.grants(self._lock)
        extra = self._enter_view(granted)
        self._change_uid(granted)
        self._step("no-new-privileges", _no_new_privileges)
        self._step("landlock", lambda: self._landlock(granted, extra))
        self._step("limits", self._limits)
        self._step("capabilities", _no_capabilities)

    def close_calls(self) -> None:
        """Step 7."""
        guarded = self._holds("mount") or self._holds("uid")
        policy = seccomp.CallPolicy(
            profile=self._lock.profile,
            threads=self._lock.threads > 1,
            writes=bool(self._lock.writable or self.scratch),
            attributes=guarded,
            gpu=self._lock.gpu,
            private_pids=self._entered.complete,
        )
        self._step("seccomp", lambda: seccomp.install(policy))

    @property
    def confinement(self) -> Confinement:
        """The report of what holds now."""
        return Confinement(tuple(self.layers), self._landlock_abi)

    def _enter_view(self, granted: Sequence[Grant]) -> list[tuple[str, Access]]:
        """Step 1; returns what Landlock must allow besides."""
        extra: list[tuple[str, Access]] = []

        def enter() -> str:
            if not self._entered.complete:
                raise OSError("no namespace of its own")
            if view.enter(granted, self._lock.scratch):
                extra.append(("/proc", landlock.READ))
            return "own file tree, read-only" + ("" if extra else ", without /proc")

        self._step("mount", enter)
        if self._lock.scratch:
            held = self._holds("mount")
            self.scratch = view.SCRATCH if held else _make_scratch(self._spare_scratch)
            extra.append((self.scratch, landlock.WRITE))
        return extra

    def _change_uid(self, granted: Sequence[Grant]) -> None:
        if self._entered.complete:
            return
        if os.geteuid() != 0:
            self.layers.append(Layer("uid", held=False, detail="only root can give it another uid"))
            return
        self._step("uid", lambda: _become_nobody(granted, self.scratch))

    def _landlock(self, granted: Sequence[Grant], extra: list[tuple[str, Access]]) -> str:
        detail = landlock.restrict([*((x.path, x.access) for x in granted), *extra])
        self._landlock_abi = landlock.abi()
        return detail

    def _limits(self) -> str:
        return limits.apply(self._lock, own_user=self._holds("user"))

    def _holds(self, name: str) -> bool:
        return any(layer.held for layer in self.layers if layer.name == name)

    def _step(self, name: str, close: Callable[[], str]) -> None:
        try:
            self.layers.append(Layer(name, held=True, detail=close()))
        except (OSError, ValueError) as error:
            self.layers.append(Layer(name, held=False, detail=str(error)))


def enough(confinement: Confinement, requirement: Requirement) -> bool:
    """Whether a child with this confinement may go on."""
    if requirement is Requirement.STRICT:
        return confinement.strict
    return confinement.form is not Form.NONE


def _no_new_privileges() -> str:
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    return ""


def _no_capabilities() -> str:
    linux.drop_capabilities()
    return ""


def _become_nobody(granted: Sequence[Grant], scratch: str) -> str:
    """Another uid for good, if that uid can read what is granted; OSError, and no change, if not."""
    linux.set_filesystem_uid(OTHER_UID, OTHER_UID)
    try:
        for grant in granted:
            _try(grant)
    except OSError as error:
        raise PermissionError(
            f"uid {OTHER_UID} could not open {error.filename}: {error.strerror}"
        ) from None
    finally:
        linux.set_filesystem_uid(0, 0)
    for path in (Path(scratch), *Path(scratch).iterdir()) if scratch else ():
        os.chown(path, OTHER_UID, OTHER_UID)
    os.setgroups([])
    os.setresgid(OTHER_UID, OTHER_UID, OTHER_UID)
    os.setresuid(OTHER_UID, OTHER_UID, OTHER_UID)
    return f"runs as uid {OTHER_UID}"


def _make_scratch(path: str) -> str:
    """A private directory, removed by the keeper. Fails on a name that is taken, or a link."""
    for each in (path, *(f"{path}/{name}" for name in view.SCRATCH_PARTS)):
        Path(each).mkdir(0o700)
    return path


def _try(grant: Grant) -> None:
    """Tries a grant out as it will be used, without changing it; OSError where it is of no use."""
    writes = grant.kind is grants.Kind.WRITE
    if writes and not os.access(grant.path, os.R_OK | os.W_OK, effective_ids=True):
        raise PermissionError(13, "not writable", grant.path)
    os.close(os.open(grant.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
