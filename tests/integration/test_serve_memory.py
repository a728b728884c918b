"""Calibrated before sealing, measured while serving, and served from memory that nobody can write to."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pratique.errors import FormatError, SealError, UsageError, VettingRefused
from pratique.flows.calibrating import CalibrateRequest, calibrate
from pratique.flows.sealing import SealRequest, check_reproducible, vet_and_seal
from pratique.formats.policy import load_policy
from pratique.vet import LocalGate
from tests.support import models
from tests.support.bundles import POLICY as OPEN
from tests.support.bundles import OpenGate, World, make_world, refusing_gate

pytestmark = pytest.mark.slow
POLICY = 'schema = "pratique.policy/v1"\nname = "test"\n[serve]\nlock = "reduced"\n'


def pratique(*words: object) -> subprocess.CompletedProcess[str]:
    program = (sys.executable, "-m", "pratique.cli.main")
    return subprocess.run(
        [*program, *map(str, words)], capture_output=True, text=True, timeout=180, check=False
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """An enclave that has admitted a model whose snapshot was calibrated before it was sealed."""
    made = make_world(tmp_path_factory.mktemp("memory"))
    policy = made.root / "policy.toml"
    policy.write_text(POLICY)
    (made.root / "demands.toml").write_text(POLICY + 'weights = "sealed-copy"\n')
    models.write_llama(made.root / "small")
    home = ("--home", made.home)
    snapshot = made.root / "snapshot"
    done = pratique(*home, "fetch", made.root / "small", "--into", snapshot, "--policy", policy)
    assert done.returncode == 0, done.stderr
    done = pratique(*home, "calibrate", snapshot, "--policy", policy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(snapshot / "provenance" / "calibration.json")
    rules = load_policy(str(policy))
    request = SealRequest(snapshot, rules, made.root / "small.bundle")
    sealed = vet_and_seal(request, LocalGate(rules), lambda: made.vetter, on_verdict=lambda _: None)
    assert "provenance/calibration.json" in {file.path for file in sealed.document.files}
    made.approve(sealed.path)
    made.admit(sealed.path)
    return made


def inside(world: World, *words: object, policy: str = "policy.toml") -> tuple[object, ...]:
    return ("--home", world.home, *words, "--policy", world.root / policy)


def test_sealing_it_again_gives_the_same_bytes(world: World) -> None:
    rules = load_policy(str(world.root / "policy.toml"))
    request = SealRequest(world.root / "snapshot", rules)
    bundle = world.root / "small.bundle"
    check_reproducible(request, bundle, LocalGate(rules), on_verdict=lambda _: None)
    found = world.root / "snapshot/provenance/calibration.json"
    before = found.read_bytes()
    value = json.loads(before)
    value["measured"]["peak"] += 2**20
    found.write_text(json.dumps(value))
    try:
        with pytest.raises(SealError, match="is not what sealing this snapshot gives"):
            check_reproducible(request, bundle, LocalGate(rules), on_verdict=lambda _: None)
    finally:
        found.write_bytes(before)


def test_fit_says_what_a_number_rests_on(world: World) -> None:
    measured = world.home / "measured"
    for path in measured.glob("*.json") if measured.is_dir() else ():
        path.unlink()
    plain = json.loads(pratique(*inside(world, "fit", "small", "--json")).stdout)
    auto = plain["rungs"][0]
    assert (auto["rung"], auto["basis"]) == ("auto", "computed")
    assert [run["basis"] for run in auto["measured"]] == ["sealed"]
    done = pratique(*inside(world, "generate", "small", "--prompt", "hello", "--max-tokens", 3))
    assert done.returncode == 0, done.stderr
    kept = next(measured.glob("*.json"))
    after = json.loads(pratique(*inside(world, "fit", "small", "--json")).stdout)["rungs"][0]
    assert {run["basis"] for run in after["measured"]} == {"sealed", "here"}
    # A run that needed more than the formula says raises the number, and the table says who said so.
    value = json.loads(kept.read_text())
    value["measured"][0]["peak"] = 2 * sum(after["predicted"].values())
    kept.write_text(json.dumps(value))
    raised = json.loads(pratique(*inside(world, "fit", "small", "--json")).stdout)["rungs"][0]
    assert raised["basis"] == "here"
    assert sum(raised["predicted"].values()) == value["measured"][0]["peak"]
    text = pratique(*inside(world, "fit", "small")).stdout
    assert "measured here" in text
    assert "sealed with the model" in text
    kept.unlink()
    bundle = json.loads(
        pratique("--home", world.home, "fit", world.root / "small.bundle", "--json").stdout
    )
    assert [run["basis"] for run in bundle["rungs"][0]["measured"]] == ["sealed"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value.update(subject="0" * 64), "other files"),
        (lambda value: value["measured"].update(peak=2**45), "times what such a model needs"),
        (lambda value: value["measured"].update(peak=1), "malformed"),
        (lambda value: value.clear(), "malformed"),
    ],
)
def test_a_wrong_calibration_is_not_sealed(world: World, tmp_path: Path, change, words) -> None:
    found = world.root / "snapshot/provenance/calibration.json"
    before = found.read_bytes()
    value = json.loads(before)
    change(value)
    found.write_text(json.dumps(value))
    request = SealRequest(world.root / "snapshot", OPEN, tmp_path / "x.bundle")
    try:
        with pytest.raises(FormatError, match=words):
            vet_and_seal(request, OpenGate(OPEN), lambda: world.vetter, on_verdict=lambda _: None)
        if words == "malformed":
            done = pratique("--home", world.home, "vet", world.root / "snapshot")
            assert done.returncode == 5, done.stderr
    finally:
        found.write_bytes(before)
    assert not (tmp_path / "x.bundle").exists()


def test_what_the_gate_refuses_is_not_loaded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from pratique.flows import calibrating

    def loads(*_: object, **__: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(calibrating, "run_job", loads)
    request = CalibrateRequest(snapshot=world.root / "snapshot", policy=OPEN)
    with pytest.raises(VettingRefused):
        calibrate(request, refusing_gate(), on_verdict=lambda _: None)
    bare = CalibrateRequest(snapshot=world.root / "small", policy=OPEN)
    with pytest.raises(UsageError, match="no place"):
        calibrate(bare, OpenGate(OPEN), on_verdict=lambda _: None)


@contextlib.contextmanager
def serve(world: World, *more: object, policy: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    words = inside(world, "serve", "small", "--port", 0, "--context", 64, *more, policy=policy)
    process = subprocess.Popen(
        [sys.executable, "-m", "pratique.cli.main", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=(world.root / "serve.err").open("w"),
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.startswith("http"), (world.root / "serve.err").read_text()
        yield line, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def answer(url: str) -> str:
    asked = {"model": "small", "prompt": "hello", "max_tokens": 12, "temperature": 0}
    found = httpx.post(f"{url}/v1/completions", json=asked, timeout=60)
    assert found.status_code == 200, found.text
    return str(found.json()["choices"][0]["text"])


@pytest.mark.parametrize(
    ("options", "policy"), [(("--in-memory",), "policy.toml"), ((), "demands.toml")]
)
def test_a_write_to_the_store_changes_nothing_in_a_sealed_copy(
    world: World, options: tuple[str, ...], policy: str
) -> None:
    store = next((world.home / "store").rglob("model.safetensors"))
    before = store.read_bytes()
    try:
        with serve(world, *options, policy=policy) as (url, process):
            first = answer(url)
            store.chmod(0o600)
            store.write_bytes(b"\0" * len(before))  # the same inode, as its owner
            assert answer(url) == first
            assert httpx.get(f"{url}/health/ready", timeout=60).status_code == 200
            assert process.poll() is None
    finally:
        store.chmod(0o600)
        store.write_bytes(before)
        store.chmod(0o444)
    said = (world.root / "serve.err").read_text()
    assert "from sealed memory" in said
    assert process.returncode == 0, said


def overwrite(file: Path, data: bytes) -> None:
    """Write other bytes of the same length, as the store's owner can."""
    file.chmod(0o600)
    file.write_bytes(data)


def replace(file: Path, data: bytes) -> None:
    """Put another file of the same length in its place."""
    beside = file.with_name("beside")
    mode = file.parent.stat().st_mode
    file.parent.chmod(0o700)
    beside.write_bytes(data)
    beside.replace(file)
    file.parent.chmod(mode)


@pytest.mark.parametrize(
    ("write", "name"), [(overwrite, "model.safetensors"), (replace, "chat_template.jinja")]
)
def test_a_write_to_the_store_ends_what_is_served_from_it(world: World, write, name) -> None:
    store = next((world.home / "store").rglob(name))
    before = store.read_bytes()
    try:
        with serve(world, policy="policy.toml") as (url, process):
            assert answer(url)
            write(store, bytes([before[0] ^ 1]) + before[1:])
            assert process.wait(60) == 12  # it looks every 15 seconds; nobody asked it to end
    finally:
        store.chmod(0o600)
        store.write_bytes(before)
        store.chmod(0o444)
    said = (world.root / "serve.err").read_text()
    assert "was written to while it was served" in said
    assert "pratique fsck" in said
    assert "starting it again" not in said
    events = pratique("--home", world.home, "log", "show", "--json")
    assert events.returncode == 0, events.stderr
    ends = [line for line in events.stdout.splitlines() if '"unloaded"' in line]
    assert "was written to while it was served" in ends[-1]
