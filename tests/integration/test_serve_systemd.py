"""The shipped unit under a real systemd: the second full lock, with user namespaces switched off.

Clients of the group get in, others do not; a stop drains; the log is closed and intact; `doctor`
inside tries every way out.
"""

import json
import sys
from pathlib import Path

import pytest

from pratique.flows.sample import sample_directory
from pratique.flows.sealing import SealRequest, vet_and_seal
from pratique.ledger.folder import Folder
from pratique.ledger.signer import key_signer
from pratique.ledger.verify import State, verify
from tests.support import systemd
from tests.support.bundles import POLICY as BUILD
from tests.support.bundles import OpenGate, make_world

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "packaging" / "pratique-serve.service"

TARGET = """[Unit]
DefaultDependencies=no
Requires=asked.service
"""
ASKED = """[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/bash {folder}/asked.sh
StandardOutput=append:{folder}/asked.err
StandardError=append:{folder}/asked.err
"""
DROPIN = """
[Unit]
DefaultDependencies=no
[Service]
ExecStartPre=/usr/bin/env pratique doctor
StandardOutput=append:{folder}/serve.err
StandardError=append:{folder}/serve.err
# As on a host whose administrator has switched user namespaces off.
RestrictNamespaces=yes
# The tests' Python may lie in a home, where the unit would not see it.
ProtectHome=read-only
"""
CLIENT = """
import json, sys, time
import httpx
with httpx.Client(transport=httpx.HTTPTransport(uds="/run/pratique/serve.sock"), timeout=60) as client:
    answer = client.post("http://localhost/v1/chat/completions", json={
        "model": "sample", "temperature": 0, "max_tokens": 60,
        "messages": [{"role": "user", "content": "What is pratique?"}],
    })
    print(json.dumps({"status": answer.status_code, "answer": answer.json()}))
"""
SCRIPT = """
cd {folder}
systemctl start pratique-serve
for _ in $(seq 600); do
  grep -q '^unix:' serve.err && break
  systemctl is-failed -q pratique-serve && break
  sleep 0.2
done
as() {{ setpriv --reuid 40001 --regid 40001 --bounding-set=-all --inh-caps=-all "$@"; }}
as --groups "$(getent group pratique | cut -d: -f3)" {python} client.py > member.out 2>&1
as --clear-groups {python} client.py > stranger.out 2>&1
systemctl stop pratique-serve
systemctl show pratique-serve -p Result -p ExecMainStatus > ended.out
cp -r /var/lib/private/pratique/ledger /var/lib/private/pratique/keys .
systemctl poweroff --force --force
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Path:
    """A folder with what was seen of one service's life."""
    if (reason := systemd.why_not()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("systemd")
    made = make_world(folder / "world")
    request = SealRequest(sample_directory(), BUILD, folder / "sample.bundle")
    bundle = vet_and_seal(
        request, OpenGate(BUILD), lambda: made.vetter, on_verdict=lambda _: None
    ).path
    made.approve(bundle)
    made.admit(bundle)
    names = [path.stem for path in (made.home / "store" / "names").iterdir()]
    assert len(names) == 1
    (folder / "client.py").write_text(CLIENT)
    (folder / "asked.sh").write_text(SCRIPT.format(folder=folder, python=sys.executable))
    prepare = f"""
    groupadd --prefix $root --system pratique
    mkdir -p $root/srv/pratique $root/etc/pratique
    cp -a {made.home}/store {made.home}/trust $root/srv/pratique/
    chmod -R o+rX $root/srv/pratique
    echo PRATIQUE_MODEL={names[0]} > $root/etc/pratique/serve.env
    ln -sf {Path(sys.executable).parent / "pratique"} $root/usr/local/bin/pratique
    {systemd.reachable(ROOT, folder, *systemd.interpreter_folders())}
    """
    units = {
        "test.target": TARGET,
        "asked.service": ASKED.format(folder=folder),
        UNIT.name: UNIT.read_text() + DROPIN.format(folder=folder),
    }
    console = systemd.boot(folder, units, prepare=prepare, seconds=150)
    (folder / "console").write_text(console)
    return folder


def read(folder: Path, name: str) -> str:
    path = folder / name
    return path.read_text() if path.exists() else f"no {name}; " + (folder / "console").read_text()


def test_it_serves_under_the_second_full_lock(served):
    said = read(served, "serve.err")
    assert "lock: a private network + Landlock + seccomp" in said, said


def test_no_way_out_of_it(served):
    said = read(served, "serve.err")
    refused = [line for line in said.splitlines() if " of " in line and "ways" in line]
    assert len(refused) == 4, said
    for line in refused:
        count, _, of = line.split("│")[2].partition(" of ")
        assert int(count) == int(of), line


def test_a_member_of_the_group_is_answered_and_a_stranger_is_not(served):
    answer = json.loads(read(served, "member.out"))
    assert answer["status"] == 200
    assert answer["answer"]["choices"][0]["message"]["content"]
    assert "Permission denied" in read(served, "stranger.out")


def test_a_stop_drains_and_ends_well(served):
    assert read(served, "ended.out").split() == ["Result=success", "ExecMainStatus=0"]


def test_the_log_was_closed_and_is_intact(served):
    key = key_signer(served / "keys" / "ledger.key").key
    report = verify(Folder(served / "ledger"), key=key)
    assert report.state is State.INTACT
