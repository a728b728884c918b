"""Every known way out of a child, tried by hostile code under the real lock: all refused.

The same attempts are made without a lock, and most of them work: so the refusals are the lock's.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pratique.confine import Form, Profile, Requirement
from pratique.confine import probe as probes
from pratique.confine.namespaces import private_network
from tests.support import confined

ESCAPES = [name for group in probes.ESCAPES.values() for name in group]
# What an ordinary process may do to its own user's things; the rest needs root or a kernel option.
WORK_WITHOUT_A_LOCK = [
    *("tcp", "tcp-listen", "udp", "dns", "unix-socket", "abstract-socket", "socket-pair"),
    *("netlink", "read-key", "list-directory", "append-log", "truncate-by-open"),
    *("truncate-log", "change-mode", "write-outside", "signal-parent", "signal-by-owner"),
    *("read-parent-environment", "read-parent-pages", "steal-descriptor", "fork-bomb", "vfork"),
    *("execute", "execute-memory", "outlive-parent", "change-personality", "unlink-log"),
]


@pytest.fixture(scope="module")
def attempts():
    """One child per profile tries everything; each test below looks at one attempt."""
    found = {}
    for profile in Profile:
        _, tried = probes.try_escapes(profile, Requirement.REDUCED)
        found |= {(profile, attempt.escape): attempt for attempt in tried}
    return found


@pytest.mark.parametrize("profile", list(Profile))
@pytest.mark.parametrize("escape", ESCAPES)
def test_escape_is_refused(attempts, escape, profile):
    attempt = attempts[profile, escape]
    assert attempt.held, attempt.detail


def test_nothing_arrived_outside(attempts):
    assert {escape for _, escape in attempts} == set(ESCAPES)


def test_every_escape_of_the_program_is_expected_by_the_prober():
    source = "import json, pratique.jobs.probe as p; print(json.dumps(list(p.ESCAPES)))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True)
    assert sorted(json.loads(done.stdout)) == sorted(ESCAPES)


def test_the_attempts_are_real(tmp_path):
    """Without the lock the very same code gets out, and the prober sees what arrived."""
    source = "import sys, pratique.jobs.probe as p; i = sys.stdin.buffer.read();"
    source += "sys.stdout.buffer.write(p.run(i, lambda text: None))"
    over_loopback = {"tcp", "udp", "dns"} if not _loopback_is_up() else set()
    with probes._targets() as targets:
        for name in sorted(set(WORK_WITHOUT_A_LOCK) - over_loopback):
            request = json.dumps({"targets": targets.as_json(), "only": [name]})
            done = subprocess.run(
                [sys.executable, "-c", source],
                input=request.encode(),
                capture_output=True,
                check=True,
                env={**os.environ, "TMPDIR": str(tmp_path)},
            )
            assert json.loads(done.stdout)[name]["reached"] is not None, (name, done.stdout)
        arrived = {"tcp", "udp", "unix-socket", "abstract-socket", "log", "key", "planted"}
        assert arrived - over_loopback <= set(targets.arrived())


def _loopback_is_up():
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(("127.0.0.1", 9)) == 0


needs_namespaces = pytest.mark.skipif(
    not confined.user_namespaces(), reason="needs user namespaces to simulate other hosts"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
# What each host lets us close, and the lock that results.
HOSTS = {
    "nested": ({"nested": True}, Form.NAMESPACES),
    "root-in-a-namespace-that-forbids-more": (
        {"forbidden": True, "capabilities": "none"},
        Form.REDUCED,
    ),
    "forbidden-but-the-network-is-private": (
        {"forbidden": True, "capabilities": "none", "private_network": True},
        Form.PRIVATE_UNIT,
    ),
}
ROOT_HOSTS = {
    "ordinary-user": ({"uid": confined.OTHER_UID}, Form.NAMESPACES),
    "ordinary-user-nested": ({"uid": confined.OTHER_UID, "nested": True}, Form.NAMESPACES),
    "ordinary-user-forbidden": (
        {"uid": confined.OTHER_UID, "forbidden": True, "capabilities": "none"},
        Form.REDUCED,
    ),
    "ordinary-user-forbidden-but-the-network-is-private": (
        {
            "uid": confined.OTHER_UID,
            "forbidden": True,
            "capabilities": "none",
            "private_network": True,
        },
        Form.PRIVATE_UNIT,
    ),
    "container-root-without-sys-admin": (
        {"forbidden": True, "capabilities": "no-admin"},
        Form.OTHER_UID,
    ),
}


@pytest.fixture(scope="module")
def everybodys_python():
    base = confined.readable_by_others()
    if base is None:
        pytest.skip("no interpreter here that another user can run")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # pytest's own directories are closed to other users
        yield base, confined.interpreter(Path(directory) / "venv", base)


def _assert_held(report, form):
    if form is Form.REDUCED and private_network():
        form = Form.PRIVATE_UNIT  # these tests themselves run without a network
    assert report["confinement"]["form"] == form.value, report["confinement"]["layers"]
    assert report["strict"] is (form is not Form.REDUCED)
    assert [attempt for attempt in report["attempts"] if not attempt["held"]] == []
    assert len(report["attempts"]) == 2 * len(ESCAPES)


@needs_namespaces
@pytest.mark.parametrize("host", HOSTS)
def test_escapes_are_refused_on_host(host):
    kind, form = HOSTS[host]
    _assert_held(confined.on_host(sys.executable, sys.executable, **kind), form)


@needs_root
@needs_namespaces
@pytest.mark.parametrize("host", ROOT_HOSTS)
def test_escapes_are_refused_on_host_of_other_users(host, everybodys_python):
    kind, form = ROOT_HOSTS[host]
    base, python = everybodys_python
    _assert_held(confined.on_host(base, python, **kind), form)


@needs_namespaces
@pytest.mark.skipif(private_network(), reason="a network with no way out is a second full lock")
def test_strict_refuses_to_start_where_namespaces_are_forbidden():
    report = confined.on_host(
        sys.executable,
        sys.executable,
        forbidden=True,
        capabilities="none",
        requirement="strict",
    )
    assert report["attempts"] == []
    assert "user.max_user_namespaces is 0" in report["problem"]
    assert "sysctl -w user.max_user_namespaces=" in report["hint"]


def _on_poor_host(*refuse, **kind):
    return confined.on_host(sys.executable, sys.executable, refuse=list(refuse), **kind)


def _layers(report):
    return {layer["name"]: layer for layer in report["confinement"]["layers"]}


@needs_namespaces
@pytest.mark.parametrize("call", ["mount", "mount_setattr", "pivot_root"])
def test_without_a_file_tree_of_its_own_nothing_gets_out(call):
    """Containers often forbid mounting; the tree that was there must then be whole and guarded."""
    report = _on_poor_host(call)
    assert not _layers(report)["mount"]["held"]
    assert report["confinement"]["form"] == Form.PRIVATE_UNIT.value
    assert [attempt for attempt in report["attempts"] if not attempt["held"]] == []


@needs_namespaces
def test_without_landlock_the_tree_still_holds_but_strict_refuses():
    report = _on_poor_host("landlock")
    assert report["confinement"]["form"] == Form.REDUCED.value
    assert report["strict"] is False
    assert [attempt for attempt in report["attempts"] if not attempt["held"]] == []
    refused = _on_poor_host("landlock", requirement="strict")
    assert "landlock" in refused["problem"]
    assert "lsm=" in refused["hint"]


@needs_namespaces
def test_what_gets_out_of_a_poor_lock_is_reported():
    """Neither Landlock nor namespaces: files are open to it, and the report does not hide that."""
    report = _on_poor_host("landlock", forbidden=True, capabilities="none")
    assert report["strict"] is False
    out = {attempt["escape"] for attempt in report["attempts"] if not attempt["held"]}
    assert {"read-key", "append-log"} <= out
    assert not out & {
        *probes.ESCAPES["network"],
        *probes.ESCAPES["kernel"],
        "fork-bomb",
        "signal-parent",
    }


@pytest.mark.parametrize("requirement", list(Requirement))
def test_without_seccomp_nothing_starts(requirement):
    report = _on_poor_host("seccomp", requirement=requirement.value)
    assert report["attempts"] == []
    assert "seccomp" in report["problem"]
    assert "CONFIG_SECCOMP_FILTER" in report["hint"]
