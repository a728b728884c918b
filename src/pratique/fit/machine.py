"""What is truly free: the least of what the machine has and what every control group leaves.

psutil and MemAvailable know nothing of control groups, and a group's own `current` counts file
pages that the kernel would give back. So: free = min(MemAvailable, for each group above us: limit −
current + reclaimable file pages), for version 1 and version 2 alike (docs.kernel.org, cgroup-v2 and
cgroup-v1/memory). Everything is read below `root`, so that recorded machines can be tested.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

_UNLIMITED: Final = 2**60
"""Version 1 writes "no limit" as a number near 2**63."""
_MIB: Final = 2**20
_WIDE: Final = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})
"""What torch's own packed kernels were measured with; elsewhere matrices are left as they are."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One CUDA device; bytes."""

    index: int
    total: int
    free: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a load may use. Bytes; `limited_by` says what made `free` what it is.

    `packs`: the processor is one for which matrices are packed (jobs.worker_packed).
    """

    total: int
    free: int
    limited_by: str
    cpus: int
    gpus: tuple[Gpu, ...] = ()
    packs: bool = False


def read_machine(root: Path = Path("/"), *, gpus: tuple[Gpu, ...] = ()) -> Machine:
    """Read memory and CPUs as this process may use them. GPUs are passed in (see `read_gpus`)."""
    info = _fields(root / "proc/meminfo", unit=1024)
    total = info.get("MemTotal", 0)
    free, why = info.get("MemAvailable", info.get("MemFree", 0)), "MemAvailable"
    for group, limit, room in _groups(root):
        total = min(total, limit)
        if room < free:
            free, why = max(room, 0), group
    return Machine(
        total=total,
        free=free,
        limited_by=why,
        cpus=read_cpus(root),
        gpus=gpus,
        packs=_packs(root),
    )


def _packs(root: Path) -> bool:
    for line in _text(root / "proc/cpuinfo").splitlines():
        name, _, flags = line.partition(":")
        if name.strip() == "flags":
            return set(flags.split()) >= _WIDE
    return False


def read_cpus(root: Path = Path("/")) -> int:
    """CPUs that this process may keep busy: its affinity, cut by every group's quota. At least 1."""
    try:
        count = len(os.sched_getaffinity(0))
    except OSError:
        count = os.cpu_count() or 1
    for folder in _folders(root, "cpu"):
        if (share := _quota(folder)) is not None:
            count = min(count, max(1, int(share)))
    return max(count, 1)


def _quota(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split()  # version 2: "max 100000" or "50000 100000"
    if len(words) == 2:
        quota, period = words
    else:
        quota = _text(folder / "cpu.cfs_quota_us").strip()
        period = _text(folder / "cpu.cfs_period_us").strip()
    if quota.isdecimal() and period.isdecimal() and int(period) > 0:
        return int(quota) / int(period)
    return None


def _groups(root: Path) -> Iterator[tuple[str, int, int]]:
    """Yield (name, limit, room) of each memory group above this process that has a limit."""
    for folder in _folders(root, "memory"):
        reclaimable = _fields(folder / "memory.stat", unit=1)
        if (folder / "memory.max").exists():
            limit = min(_number(folder / "memory.max"), _number(folder / "memory.high"))
            used = _number(folder / "memory.current", 0)
            files = reclaimable.get("inactive_file", 0) + reclaimable.get("active_file", 0)
        else:
            limit = _number(folder / "memory.limit_in_bytes")
            limit = min(limit, reclaimable.get("hierarchical_memory_limit", limit))
            used = _number(folder / "memory.usage_in_bytes", 0)
            files = sum(
                reclaimable.get(f"total_{key}", reclaimable.get(key, 0))
                for key in ("inactive_file", "active_file")
            )
        if limit < _UNLIMITED:
            name = f"the control group {folder.name or '/'} ({limit // _MIB} MiB)"
            yield name, limit, limit - used + min(files, used)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield this process's group folder for `controller`, and its parents up to the mount."""
    mount = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            base = mount if (mount / "cgroup.controllers").exists() else mount / "unified"
        elif controller in controllers.split(","):
            base = mount / controllers if (mount / controllers).exists() else mount / controller
        else:
            continue
        inside = PurePosixPath(path.strip().lstrip("/"))
        # In a container the path may be the host's; then the mount itself is our group.
        folder = base / inside if ".." not in inside.parts and (base / inside).is_dir() else base
        while True:
            yield folder
            if folder == base:
                break
            folder = folder.parent


def _fields(path: Path, *, unit: int) -> dict[str, int]:
    """Read lines of `name[:] number [kB]` into bytes."""
    found = {}
    for line in _text(path).splitlines():
        words = line.replace(":", " ").split()
        if len(words) >= 2 and words[1].isdecimal():
            found[words[0]] = int(words[1]) * unit
    return found


def _number(path: Path, otherwise: int = 2**63) -> int:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else otherwise


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def read_gpus() -> tuple[Gpu, ...]:
    """Ask the driver's own tool for CUDA devices; none where it is absent or silent."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = "--query-gpu=index,memory.total,memory.free,name"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(
            [tool, query, "--format=csv,noheader,nounits"],
            capture_output=True,
            timeout=10,
            check=True,
            text=True,
        )
        return parse_gpus(said.stdout)
    return ()


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Parse `index, total MiB, free MiB, name` lines; what is not of that form is left out."""
    found = []
    for line in text.splitlines():
        words = [word.strip() for word in line.split(",", 3)]
        if len(words) == 4 and all(word.isdecimal() for word in words[:3]):
            index, total, free = (int(word) for word in words[:3])
            found.append(Gpu(index, total * _MIB, free * _MIB, words[3][:64]))
    return tuple(found)
