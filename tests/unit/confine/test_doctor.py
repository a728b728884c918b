"""`pratique doctor`: the table, the JSON, the exit code; limits read from recorded trees."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from pratique.cli import doctor
from pratique.cli.context import Context
from pratique.confine import Confinement, Layer, Profile
from pratique.confine import probe as probes
from pratique.confine.probe import Attempt, ProbeReport
from pratique.errors import ConfinementError


@pytest.fixture
def run(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(
            doctor.command, arguments, obj=Context(home=tmp_path / "absent" / "home")
        )

    return run


def test_on_a_host_that_can_it_says_so(run):
    result = run()
    assert result.exit_code == 0, result.output
    for word in ("landlock", "seccomp", "strict lock: namespaces", "fs-verity", "torch"):
        assert word in result.output


def test_json_has_the_same_in_one_line(run):
    result = run("--json")
    assert result.exit_code == 0
    value = json.loads(result.output)
    assert value["schema"] == "pratique.doctor/v1"
    assert value["lock"]["strict"] is True
    assert len(value["lock"]["attempts"]) >= 2 * 40
    assert value["host"]["disk_free"] > 0


def report(*, held=True, strict=True, escape="tcp"):
    held_names = ["no-new-privileges", "capabilities", "limits", "seccomp", "landlock"]
    held_names += ["network", "pid", "mount"] if strict else []
    layers = [Layer(name, held=True) for name in held_names]
    layers += [] if strict else [Layer("pid", held=False, detail="user.max_user_namespaces is 0")]
    attempt = Attempt(escape, Profile.MODEL, held=held, detail="connected")
    return ProbeReport((attempt,), Confinement(tuple(layers), 7), "", "")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
@pytest.mark.parametrize(
    ("found", "message"),
    [
        (report(held=False), "let something out: tcp"),
        (report(held=False, escape="log"), "let something out: log"),
        (report(strict=False), "user.max_user_namespaces is 0"),
        (ProbeReport((), None, "no seccomp", "get one"), "no seccomp"),
        (replace(report(), attempts=()), "does not hold"),
    ],
)
def test_a_host_that_cannot_is_exit_12(run, monkeypatch, found, message, arguments):
    monkeypatch.setattr(probes, "probe", lambda: found)
    result = run(*arguments)
    assert isinstance(result.exception, ConfinementError)
    assert message in result.exception.message
    assert result.exception.hint
    assert result.exception.exit_code == 12
    assert result.output


def test_limits_of_control_groups_version_2(tmp_path):
    root = tmp_path / "cgroup"
    (root / "user" / "service").mkdir(parents=True)
    (root / "user" / "memory.max").write_text("1000\n")
    (root / "user" / "service" / "memory.max").write_text("max\n")
    membership = tmp_path / "self"
    membership.write_text("0::/user/service\n")
    assert doctor.cgroup_limit(membership, root) == 1000


def test_limits_of_control_groups_version_1(tmp_path):
    root = tmp_path / "cgroup"
    (root / "memory" / "docker").mkdir(parents=True)
    (root / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (root / "memory" / "docker" / "memory.limit_in_bytes").write_text("2000\n")
    membership = tmp_path / "self"
    membership.write_text("4:cpu:/docker\n3:memory:/docker\n0::/\n")
    assert doctor.cgroup_limit(membership, root) == 2000


def test_no_limit_is_none(tmp_path):
    assert doctor.cgroup_limit(tmp_path / "absent", tmp_path) is None
    (tmp_path / "self").write_text("0::/\n")
    assert doctor.cgroup_limit(tmp_path / "self", tmp_path) is None
