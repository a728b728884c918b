"""What is read of a host, from recorded answers: why namespaces are refused, what to do, which paths."""

import sys
from pathlib import Path

import pytest

from pratique.confine import (
    Lock,
    Profile,
    child,
    grants,
    landlock,
    model_lock,
    namespaces,
    parser_lock,
    view,
)
from pratique.confine.grants import Grant, Kind
from pratique.confine.landlock import Access

SETTINGS = {
    "user/max_user_namespaces": ("0", "user.max_user_namespaces is 0", "=10000"),
    "kernel/unprivileged_userns_clone": ("0", "kernel.unprivileged_userns_clone is 0", "=1"),
    "kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "kernel.apparmor_restrict_unprivileged_userns is 1",
        "=0",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_setting_that_forbids_is_named_with_its_remedy(monkeypatch, name):
    bad, reason, value = SETTINGS[name]
    monkeypatch.setattr(namespaces, "_kernel_setting", lambda asked: bad if asked == name else "")
    assert namespaces.why_forbidden(1) == reason
    assert f"sysctl -w {name.replace('/', '.')}{value}" in namespaces.remedy()
    assert "pratique-serve.service" in namespaces.remedy()


def test_a_container_is_named(monkeypatch):
    monkeypatch.setattr(namespaces, "_kernel_setting", lambda name: "")
    monkeypatch.setattr(namespaces.linux, "status_field", lambda name: "2")
    assert "container" in namespaces.why_forbidden(1)


def test_an_unknown_reason_gives_the_error(monkeypatch):
    monkeypatch.setattr(namespaces, "_kernel_setting", lambda name: "")
    monkeypatch.setattr(namespaces.linux, "status_field", lambda name: "0")
    assert "EPERM" in namespaces.why_forbidden(1)


def test_libraries_data_devices_and_outputs_are_told_apart(tmp_path):
    (tmp_path / "out").touch()
    lock = parser_lock(readable=[tmp_path], writable=[tmp_path / "out"])
    found = {grant.path: grant.kind for grant in grants.grants(lock)}
    assert found[str(tmp_path)] is Kind.DATA
    assert found[str(tmp_path / "out")] is Kind.WRITE
    assert found["/dev/urandom"] is Kind.DEVICE
    assert any(kind is Kind.LIBRARY for kind in found.values())
    assert "/" not in found
    assert str(Path.home()) not in found


def test_nothing_but_the_writable_paths_may_be_written():
    for grant in grants.grants(model_lock(gpu=True, readable=["/usr"])):
        if grant.kind is not Kind.DEVICE:
            assert not grant.access & (Access.WRITE_FILE | Access.MAKE_REG | Access.REMOVE_FILE)


def test_nothing_may_be_executed_or_made_a_device():
    for access in (landlock.READ, landlock.WRITE, landlock.DEVICE):
        for refused in (Access.EXECUTE, Access.MAKE_SOCK, Access.MAKE_CHAR, Access.MAKE_BLOCK):
            assert not access & refused


def test_paths_that_are_not_there_are_named(tmp_path):
    lock = Lock(profile=Profile.PARSER, readable=(str(tmp_path / "no"),), writable=("/no/such",))
    assert grants.missing(lock) == [str(tmp_path / "no"), "/no/such"]


def test_the_view_binds_parents_first_and_nothing_twice(tmp_path):
    (tmp_path / "data" / "inner").mkdir(parents=True)
    (tmp_path / "data" / "out").touch()
    (tmp_path / "alias").symlink_to("data")
    granted = [
        Grant(str(tmp_path / "data" / "inner"), Kind.DATA),
        Grant(str(tmp_path / "alias"), Kind.DATA),
        Grant(str(tmp_path / "data" / "out"), Kind.WRITE),
    ]
    places = [
        (place.target.removeprefix(str(tmp_path)), place.kind) for place in view._places(granted)
    ]
    assert places == [
        ("/alias", Kind.DATA),
        ("/data", Kind.DATA),
        ("/data/out", Kind.WRITE),
    ]


def test_a_private_network_has_nothing_but_a_loopback(monkeypatch):
    listing = "Inter-| Receive\n face |bytes\n    lo: 1 2\n"
    monkeypatch.setattr(Path, "read_text", lambda self, **_: listing)
    assert namespaces.private_network()


def test_an_interface_that_may_be_up_is_a_way_out(monkeypatch):
    def read(self, **_):
        return "0x1003\n" if self.name == "flags" else "    lo: 1 2\n  eth0: 1 2\n"

    monkeypatch.setattr(Path, "read_text", read)
    assert not namespaces.private_network()


def test_an_interface_that_is_down_is_none(monkeypatch):
    def read(self, **_):
        return "0x1002\n" if self.name == "flags" else "    lo: 1 2\n  sit0: 1 2\n"

    monkeypatch.setattr(Path, "read_text", read)
    assert namespaces.private_network()


def test_a_network_that_cannot_be_read_is_not_private(monkeypatch):
    def read(self, **_):
        raise OSError

    monkeypatch.setattr(Path, "read_text", read)
    assert not namespaces.private_network()


def test_landlock_is_asked_for_its_version():
    assert landlock.abi() >= 0
    assert sys.platform == "linux"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("7f00-7f01 r-xp 0 fe:00 12 /opt/python/lib/libpython3.11.so.1.0", "/opt/python/lib"),
        ("7f00-7f01 r-xp 0 fe:00 12 /opt/my python/libpython3.so", "/opt/my python"),
        ("7f00-7f01 r-xp 0 fe:00 12 /opt/libpython3.11/lib-dynload/_x.so", None),
        ("7f00-7f01 r-xp 0 fe:00 12 /usr/lib/libc.so.6", None),
        ("7f00-7f01 rw-p 0 00:00 0", None),
    ],
)
def test_the_library_python_runs_from_is_found(tmp_path, line, found):
    (tmp_path / "maps").write_text(line + "\n")
    library = child.python_library(tmp_path / "maps")
    assert (str(library.parent) if library else None) == found
    assert child.python_library(tmp_path / "absent") is None
