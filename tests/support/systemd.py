"""A real systemd as PID 1 of namespaces of its own, over a copy-on-write view of this machine.

What it starts sees this machine's files and changes none of them: the root is an overlay in memory.
Needs root, overlayfs and Debian's `systemd`; `why_not()` says what is missing.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
_GROUPS = Path("/sys/fs/cgroup")

_BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs {scratch}
mkdir {scratch}/upper {scratch}/work {scratch}/root
mount -t overlay overlay -o lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work {scratch}/root
root={scratch}/root
mount -t proc proc $root/proc
mount -t sysfs sysfs $root/sys
{cgroups}
mount -t tmpfs tmpfs $root/run
mount --rbind /dev $root/dev
mkdir -p $root{shared}
mount --bind {shared} $root{shared}
{prepare}
cp {units}/* $root/etc/systemd/system/
cd $root
mkdir -p before
pivot_root . before
umount -l /before
export container=test
exec {systemd} --system --unit=test.target --log-target=console --show-status=no </dev/null
"""
_UNIFIED = "mount -t cgroup2 cgroup2 $root/sys/fs/cgroup"
_HYBRID = """
mount -t tmpfs tmpfs $root/sys/fs/cgroup
mkdir $root/sys/fs/cgroup/systemd $root/sys/fs/cgroup/unified
mount -t cgroup -o none,name=systemd cgroup $root/sys/fs/cgroup/systemd
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup/unified
"""


def why_not() -> str | None:
    """Return why no systemd can be started here, or None."""
    if os.geteuid() != 0:
        return "only root can boot a systemd of its own"
    if not SYSTEMD.is_file():
        return "systemd is not installed (apt-get install systemd)"
    if not (_GROUPS / "cgroup.controllers").exists() and not (_GROUPS / "systemd").is_dir():
        return "there is no control group that systemd could use"
    return None


def boot(folder: Path, units: dict[str, str], *, prepare: str, seconds: float) -> str:
    """Boot with `units` (by file name), pull `test.target` up, and return the console's last words.

    `prepare` is shell that changes the new root, `$root`, beforehand. `folder` is shared with it. The
    machine ends when a unit powers it off, or after `seconds`, whichever is first.
    """
    scratch, written = folder / "scratch", folder / "units"
    scratch.mkdir()
    written.mkdir()
    for name, text in units.items():
        (written / name).write_text(text)
    unified = (_GROUPS / "cgroup.controllers").exists()
    script = _BOOT.format(
        scratch=shlex.quote(str(scratch)), shared=shlex.quote(str(folder)),
        units=shlex.quote(str(written)), systemd=SYSTEMD, prepare=prepare,
        cgroups=_UNIFIED if unified else _HYBRID,
    )  # fmt: skip
    own = [
        _GROUPS / part / f"pratique-{os.getpid()}"
        for part in ([""] if unified else ["systemd", "unified"])
    ]
    inside = ["unshare", *"--pid --mount --cgroup --net --ipc --uts --fork --kill-child".split()]
    joined = "".join(f"echo $$ > {group}/cgroup.procs; " for group in own)
    for group in own:
        group.mkdir()
    console = folder / "console"
    try:
        with console.open("w") as out:
            process = subprocess.Popen(
                ["sh", "-c", f'{joined} exec "$@"', "-", *inside, "bash", "-c", script],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
            try:
                process.wait(seconds)
            finally:
                process.kill()
                process.wait()
    finally:
        for group in own:
            _remove(group)
        shutil.rmtree(written)
    return console.read_text(errors="replace")[-4000:]


def _remove(group: Path) -> None:
    """Remove a control group with all below it; the processes in it have ended."""
    for below in sorted(group.rglob("*"), key=lambda path: -len(path.parts)):
        if below.is_dir():
            below.rmdir()
    group.rmdir()


def reachable(*paths: Path) -> str:
    """Shell that lets everybody pass to `paths` in the new root, whatever home they lie in."""
    folders = {parent for path in paths for parent in (path, *path.parents)} - {Path("/")}
    return "\n".join(f"chmod o+x $root{shlex.quote(str(f))}" for f in sorted(folders))


def interpreter_folders() -> tuple[Path, ...]:
    """Where this Python and its packages lie."""
    return Path(sys.prefix), Path(os.path.realpath(sys.executable)).parent, Path(sys.base_prefix)
