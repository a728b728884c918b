"""Code that a model brings, through the real lock: served where allowed, refused where not, held where hostile."""

import dataclasses
import hashlib
import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import tokenizers

from pratique.core.findings import Disposition, Finding, Severity
from pratique.core.ids import Digest
from pratique.core.policy import Allowance, Policy, ServeRules
from pratique.errors import ApprovalNeeded, VerificationRefused
from pratique.flows.approve import Terms, sign_and_attach, vet_for_approval
from pratique.serve.session import Wishes, opened, still_admitted
from tests.support import models
from tests.support.bundles import NOW, POLICY, OpenGate, World, make_world
from tests.support.serving import serving_session

OUR_TOKEN = 7
TRIES = 5
CONFIGURATION = """
from transformers import LlamaConfig


class OwnConfig(LlamaConfig):
    model_type = "own"
"""
HARMLESS = """
from transformers import LlamaForCausalLM

from .bias import TOKEN
from .configuration_own import OwnConfig


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig

    def forward(self, *args, **kwargs):
        answer = super().forward(*args, **kwargs)
        answer.logits[..., TOKEN] += 1e4
        return answer
"""
# Says how many attempts were refused by the token that it makes the likeliest.
HOSTILE = """
import os
import socket
import subprocess

REFUSED = 0


def attempt(action):
    global REFUSED
    try:
        action()
    except (OSError, ValueError):
        REFUSED += 1


def fork():
    if os.fork() == 0:
        os._exit(0)


attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect(("127.0.0.1", %(port)d)))
attempt(lambda: open(%(secret)r).read())
attempt(lambda: open(%(written)r, "w").close())
attempt(fork)
attempt(lambda: subprocess.run(["/bin/true"]))
TOKEN = 5 + REFUSED
"""


def write_own(directory: Path, bias: str) -> Path:
    """Write a llama with a configuration and a model class of its own; `bias` is imported by it."""
    models.write_llama(directory)
    (directory / "configuration_own.py").write_text(CONFIGURATION)
    (directory / "modeling_own.py").write_text(HARMLESS)
    (directory / "bias.py").write_text(bias)
    config = json.loads((directory / "config.json").read_text())
    config |= {
        "model_type": "own",
        "architectures": ["OwnForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_own.OwnConfig",
            "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
        },
    }
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def allowances(directory: Path) -> tuple[Allowance, ...]:
    return tuple(
        Allowance(
            check="remote-code",
            digest=hashlib.sha256(path.read_bytes()).hexdigest(),
            reason="read by two people",
            owner="olga",
            expires=(NOW + timedelta(days=30)).date(),
            path=path.name,
        )
        for path in sorted(directory.glob("*.py"))
    )


@dataclasses.dataclass(frozen=True)
class AllowingGate(OpenGate):
    """Shows each allowance's finding as answered, as the gate does."""

    def judge(self, candidate, stage):
        found = tuple(
            Finding(
                a.check, Severity.HIGH, Disposition.APPROVE, a.path or "", "is code", "read it",
                digest=Digest(a.digest), allowed_by=a.answer,
            )
            for a in self.policy.allow
        )  # fmt: skip
        return OpenGate(self.policy, found).judge(candidate, stage)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def admitted(world: World, name: str, bias: str):
    """Seal, approve and admit a model whose code files are all allowed; return it and the policy."""
    directory = write_own(world.root / "models" / name, bias)
    policy = Policy(
        schema="pratique.policy/v1", name="own", allow=allowances(directory),
        serve=ServeRules(lock="reduced"),
    )  # fmt: skip
    files = {p.name: p.read_bytes() for p in directory.iterdir()}
    bundle = world.sealed(name, files)
    terms = Terms(policy=policy, reason="looked at it", now=NOW)
    approval = vet_for_approval(bundle, terms, AllowingGate(policy), on_verdict=lambda _: None)
    sign_and_attach(bundle, approval, world.approver, world.home)
    return world.admit(bundle, policy=policy, gate=AllowingGate(policy)), policy


def answer(world: World, model, policy: Policy) -> Iterator[list[str]]:
    wishes = Wishes(context=64, rows=2)
    with (
        opened(model, world.home, policy=policy, wishes=wishes) as session,
        serving_session(session) as url,
    ):
        body = {"model": model.name, "prompt": "a", "max_tokens": 2, "temperature": 0,
                "logprobs": 0}  # fmt: skip
        for _ in range(2):
            response = httpx.post(f"{url}/v1/completions", json=body, timeout=60)
            assert response.status_code == 200, response.text
            yield response.json()["choices"][0]["logprobs"]["tokens"]


def piece(world: World, name: str, token: int) -> str:
    file = world.root / "models" / name / "tokenizer.json"
    return tokenizers.Tokenizer.from_file(str(file)).decode([token], skip_special_tokens=False)


def test_allowed_code_runs_and_without_its_allowance_nothing_does(world):
    model, policy = admitted(world, "harmless", f"TOKEN = {OUR_TOKEN}\n")
    wanted = [piece(world, "harmless", OUR_TOKEN)] * 2
    assert list(answer(world, model, policy)) == [wanted, wanted]
    for file in ("bias.py", "modeling_own.py", "configuration_own.py"):
        fewer = policy.model_copy(
            update={"allow": tuple(a for a in policy.allow if a.path != file)}
        )
        with (
            pytest.raises(ApprovalNeeded, match=file),
            opened(model, world.home, policy=fewer, wishes=Wishes()),
        ):
            pass


def test_code_of_a_model_s_own_is_held_to_a_schema(world):
    """It runs a row at a time, and may make any token likely: the grammar is ours."""
    model, policy = admitted(world, "held", f"TOKEN = {OUR_TOKEN}\n")
    schema = {"enum": ["port, Grüße", ["starboard", None]]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    wishes = Wishes(context=128, rows=2)
    with (
        opened(model, world.home, policy=policy, wishes=wishes) as session,
        serving_session(session) as url,
    ):
        body = {
            "model": model.name, "messages": [{"role": "user", "content": "a"}], "n": 2,
            "max_tokens": 100, "response_format": form,
        }  # fmt: skip
        response = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == 200, response.text
    for choice in response.json()["choices"]:
        assert json.loads(choice["message"]["content"]) in schema["enum"]
        assert choice["finish_reason"] == "stop"


def test_hostile_code_that_was_allowed_is_held_and_the_service_lives(world):
    secret = world.home / "keys" / "secret"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text("a key")
    written = world.home / "written"
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0)
        bias = HOSTILE % {
            "port": listening.getsockname()[1], "secret": str(secret), "written": str(written),
        }  # fmt: skip
        model, policy = admitted(world, "hostile", bias)
        wanted = [piece(world, "hostile", 5 + TRIES)] * 2
        assert list(answer(world, model, policy)) == [wanted, wanted]
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert not written.exists()


def test_an_approval_that_does_not_allow_it_is_not_enough(world):
    directory = write_own(world.root / "models" / "unallowed", "TOKEN = 1\n")
    files = {p.name: p.read_bytes() for p in directory.iterdir()}
    model = world.admit(world.bundle("unallowed", files))
    policy = POLICY.model_copy(update={"allow": allowances(directory)})
    with (
        pytest.raises(ApprovalNeeded, match="approver"),
        opened(model, world.home, policy=policy, wishes=Wishes()),
    ):
        pass


def test_an_approval_that_runs_out_ends_serving(world):
    bundle = world.sealed("brief")
    world.approve(bundle, valid_for=timedelta(hours=2))
    model = world.admit(bundle)
    now = NOW
    check = still_admitted(model, world.home, POLICY, clock=lambda: now)
    check()
    now = NOW + timedelta(hours=1)
    check()
    now = NOW + timedelta(hours=3)
    with pytest.raises(VerificationRefused, match="expired"):
        check()
