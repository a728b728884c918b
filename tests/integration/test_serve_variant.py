"""A quantised copy made when the bundle was sealed: through the real gate, the real lock and out again."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from pratique.errors import VerificationRefused
from pratique.flows.sealing import SealRequest, check_reproducible, vet_and_seal
from pratique.formats.policy import load_policy
from pratique.vet import LocalGate
from tests.support import models
from tests.support.bundles import World, make_world

pytestmark = pytest.mark.slow
POLICY = 'schema = "pratique.policy/v1"\nname = "test"\n[serve]\nlock = "reduced"\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """An enclave that has admitted a model with an nf4 and an int8 variant."""
    made = make_world(tmp_path_factory.mktemp("variant"))
    (made.root / "policy.toml").write_text(POLICY)
    policy = load_policy(str(made.root / "policy.toml"))
    model = models.write_llama(made.root / "small", dtype="BF16")
    request = SealRequest(model, policy, made.root / "small.bundle", ("int8", "nf4", "nf4"))
    gate = LocalGate(policy)
    sealed = vet_and_seal(request, gate, lambda: made.vetter, on_verdict=lambda _: None)
    assert [variant.name for variant in sealed.document.variants] == ["nf4", "int8"]
    made.approve(sealed.path)
    made.verify(sealed.path)
    made.admit(sealed.path)
    return made


def pratique(world: World, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(world, *words), capture_output=True, text=True, timeout=120, check=False
    )


def command(world: World, *words: object) -> list[str]:
    policy = ("--policy", str(world.root / "policy.toml"))
    program = (sys.executable, "-m", "pratique.cli.main", "--home", str(world.home))
    return [*program, *map(str, words), *policy]


@pytest.mark.parametrize("variant", ["nf4", "int8"])
def test_a_variant_is_a_rung_and_the_ledger_says_so(world: World, variant: str) -> None:
    rung = f"variant:{variant}"
    done = pratique(
        world, "generate", "small", "--rung", rung, "--prompt", "hello", "--max-tokens", 4
    )
    assert done.returncode == 0, done.stderr
    assert rung in "".join(p.read_text() for p in (world.home / "ledger").rglob("*.jsonl"))


def test_serve_says_what_it_runs(world: World) -> None:
    words = ("serve", "small", "--rung", "variant:nf4", "--port", 0)
    with (world.root / "serve.err").open("w") as errors:
        process = subprocess.Popen(
            command(world, *words), stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        said = (world.root / "serve.err").read_text()
        assert url.startswith("http"), said
        answer = httpx.post(
            f"{url}/v1/completions",
            json={"model": "small", "prompt": "hello", "max_tokens": 3},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["usage"]["completion_tokens"] <= 3
        listed = httpx.get(f"{url}/v1/models", timeout=60).json()["data"][0]
        assert (listed["rung"], listed["note"]) == ("variant:nf4", "converted, not commit-proved")
        health = httpx.get(f"{url}/health", timeout=60).json()
        assert health["note"] == "converted, not commit-proved"
        assert "pratique_converted 1" in httpx.get(f"{url}/metrics", timeout=60).text
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert "variant:nf4" in said
    assert "converted, not commit-proved" in said


def test_show_and_fit_know_the_variants(world: World) -> None:
    shown = pratique(world, "show", "small")
    assert "nf4, int8 (converted, not commit-proved)" in " ".join(shown.stdout.split())
    listed = pratique(world, "list").stdout
    assert "carries int8, nf4: converted, not commit-proved" in listed
    table = pratique(world, "fit", "small").stdout
    assert "variant:nf4 (converted, not commit-proved)" in table
    page = world.root / "page.html"
    assert pratique(world, "report", "small", "-o", page).returncode == 0
    assert "(converted, not commit-proved)" in page.read_text()
    fitted = json.loads(pratique(world, "fit", "small", "--json").stdout)
    rungs = {rung["rung"]: rung for rung in fitted["rungs"]}
    assert rungs["variant:nf4"]["usable"] is True
    assert rungs["variant:int8"]["usable"] is True


def test_sealing_again_gives_the_same_bytes(world: World) -> None:
    policy = load_policy(str(world.root / "policy.toml"))
    request = SealRequest(world.root / "small", policy)
    check_reproducible(
        request, world.root / "small.bundle", LocalGate(policy), on_verdict=lambda _: None
    )


def test_a_changed_variant_is_refused(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "small.bundle"
    shutil.copytree(world.root / "small.bundle", copy)
    models.flip_byte(copy / "payload/variants/nf4/model.safetensors")
    with pytest.raises(VerificationRefused, match=r"variants/nf4/model\.safetensors"):
        world.verify(copy)
