"""`pratique doctor`: what this host can do, the lock first and by trial.

Exit code 0 if the strict lock holds here, 12 otherwise; everything else is for information.
"""

import errno
import fcntl
import os
import platform
import shutil
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pratique import __version__
from pratique.cli.context import Context, pass_context, print_json
from pratique.errors import ConfinementError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pratique.confine.probe import ProbeReport

_PACKAGES = ("torch", "transformers", "safetensors", "huggingface-hub", "sigstore", "bitsandbytes")
_GIB = 1024**3
_FS_IOC_MEASURE_VERITY = 0xC0046686  # linux/fsverity.h
_UNLIMITED = 1 << 60  # version 1 of cgroups writes a huge number for "no limit"


@dataclass(frozen=True, slots=True)
class Host:
    """What was found besides the lock; sizes in bytes, None where the host does not say."""

    pratique: str
    python: str
    kernel: str
    machine: str
    packages: dict[str, str]
    gpus: list[str]
    memory_total: int | None
    memory_available: int | None
    cgroup_limit: int | None
    cpus: int
    home: str
    disk_free: int
    fs_verity: str


@click.command(name="doctor", epilog="Example:  pratique doctor --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@pass_context
def command(context: Context, *, as_json: bool) -> None:
    """Test the lock on this host by trying to get out, and show what else matters.

    A hostile program is started inside the lock and tries every way out against harmless targets.
    Exit code 0: the strict lock holds. 12: it does not; the report says what to do.
    """
    from pratique.confine.probe import probe

    report = probe()
    host = examine(context.home)
    if as_json:
        print_json("doctor", {"lock": report.to_json(), "host": asdict(host)})
    else:
        _print(context.out, report, host, verbose=context.verbose > 0)
    if not report.strict:
        raise _refusal(report)


def examine(home: Path) -> Host:
    """Reads versions, memory, limits, disk; imports none of the packages it names."""
    existing = next(path for path in (home, *home.absolute().parents) if path.is_dir())
    meminfo = _meminfo()
    return Host(
        pratique=__version__,
        python=platform.python_version(),
        kernel=platform.release(),
        machine=platform.machine(),
        packages={name: _version(name) for name in _PACKAGES},
        gpus=sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*")),
        memory_total=meminfo.get("MemTotal"),
        memory_available=meminfo.get("MemAvailable"),
        cgroup_limit=cgroup_limit(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")),
        cpus=len(os.sched_getaffinity(0)),
        home=str(home),
        disk_free=shutil.disk_usage(existing).free,
        fs_verity=_fs_verity(existing),
    )


def cgroup_limit(membership: Path, root: Path) -> int | None:
    """The lowest memory limit on the way from this process's control group up; None without one.

    Reads both versions: `memory.max` (2) and `memory.limit_in_bytes` (1).
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    limits: list[int] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers in {"", "memory"}:
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            start = root / controllers / group.lstrip("/")
            limits += _limits_above(start, root, name)
    return min(limits, default=None)


def _limits_above(start: Path, root: Path, name: str) -> list[int]:
    found = []
    for directory in (start, *start.parents):
        if not directory.is_relative_to(root):
            break
        try:
            text = (directory / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < _UNLIMITED:
            found.append(int(text))
    return found


def _meminfo() -> dict[str, int]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _fs_verity(directory: Path) -> str:
    """Whether the file system can seal files: asked of a file of our own, which is not changed."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            fcntl.ioctl(file, _FS_IOC_MEASURE_VERITY, b"\0" * 68)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return "supported"
        return "not supported" if error.errno in {errno.ENOTTY, errno.EOPNOTSUPP} else "unknown"
    return "supported"


def _refusal(report: "ProbeReport") -> ConfinementError:
    if report.escaped:
        names = ", ".join(sorted({attempt.escape for attempt in report.escaped}))
        return ConfinementError(
            f"the lock let something out: {names}",
            hint="do not serve on this host; please report this with `pratique doctor --json`",
        )
    if report.confinement is None:
        return ConfinementError(report.problem, hint=report.hint)
    from pratique.confine import namespaces, result

    missing = result.names(report.confinement.lacking)
    return ConfinementError(
        f"the strict lock does not hold here: {missing}", hint=namespaces.remedy()
    )


def _print(out: "Console", report: "ProbeReport", host: Host, *, verbose: bool) -> None:
    from rich.table import Table

    if report.confinement is not None:
        layers = Table("layer", "holds", "how, or why not", title="The lock", title_justify="left")
        for layer in report.confinement.layers:
            layers.add_row(layer.name, _yes(good=layer.held), layer.detail)
        out.print(layers)
    out.print(_escape_table(report, verbose=verbose))
    facts = Table(title="This host", title_justify="left", show_header=False)
    for name, value in _facts(host):
        facts.add_row(name, value)
    out.print(facts)
    form = report.confinement.form.value if report.confinement else report.problem
    out.print(f"[bold]{'strict lock' if report.strict else 'no strict lock'}[/bold]: {form}")


def _escape_table(report: "ProbeReport", *, verbose: bool) -> "Table":
    from rich.table import Table

    from pratique.confine.probe import ESCAPES

    table = Table("escapes", "refused", "what", title="Tried, from inside", title_justify="left")
    for group, ids in ESCAPES.items():
        tried = [attempt for attempt in report.attempts if attempt.escape in ids]
        held = [attempt for attempt in tried if attempt.held]
        out_there = [f"{x.escape} ({x.profile}): {x.detail}" for x in tried if not x.held]
        said = out_there or (list(ids) if verbose else [f"{len(ids)} ways, two profiles"])
        count = f"{len(held)} of {len(tried)}"
        table.add_row(group, _yes(good=not out_there and bool(tried), text=count), ", ".join(said))
    others = [x for x in report.escaped if all(x.escape not in ids for ids in ESCAPES.values())]
    for attempt in others:
        table.add_row("outside", _yes(good=False), f"{attempt.escape}: {attempt.detail}")
    return table


def _yes(*, good: bool, text: str = "") -> str:
    colour = "green" if good else "red"
    return f"[{colour}]{text or ('yes' if good else 'no')}[/{colour}]"


def _facts(host: Host) -> list[tuple[str, str]]:
    return [
        ("pratique", f"{host.pratique}, Python {host.python}"),
        ("kernel", f"{host.kernel} {host.machine}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in host.packages.items())),
        ("memory", f"{_size(host.memory_available)} free of {_size(host.memory_total)}"),
        ("memory limit", _size(host.cgroup_limit) if host.cgroup_limit else "none set"),
        ("CPUs", str(host.cpus)),
        ("GPUs", ", ".join(host.gpus) or "none"),
        ("home", f"{host.home}, {_size(host.disk_free)} free, fs-verity {host.fs_verity}"),
    ]


def _size(count: int | None) -> str:
    return "unknown" if count is None else f"{count / _GIB:.1f} GiB"
