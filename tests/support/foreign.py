"""A random model whose code lies in another repository of a loopback Hub, and policies that pin it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from pratique.core.candidate import Candidate
from pratique.core.findings import PolicyRef, Subject, Verdict
from pratique.core.policy import Allowance, Policy, ServeRules
from pratique.core.stages import Stage
from pratique.fetch.hub import HubFetch
from pratique.fetch.patience import Patience
from pratique.fetch.pinning import HubRequest
from pratique.fetch.session import hub_session
from pratique.fetch.urls import Endpoint
from pratique.flows.loopback_hub import LoopbackHub
from pratique.vet import LocalGate
from pratique.vet.allowing import allow
from pratique.vet.examine import examine
from tests.support import models
from tests.support.hub.world import StubGate, write_tree

MODEL = "ours/tuned"
OTHER = "other/repo"
FAR = date(2099, 1, 1)
NOON = date(2026, 6, 1)
TOKEN = 7

CONFIGURATION = """\
from transformers import LlamaConfig


class OwnConfig(LlamaConfig):
    model_type = "own"
"""
MODELING = """\
from transformers import LlamaForCausalLM

from .bias import TOKEN
from .configuration_own import OwnConfig


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig

    def forward(self, *args, **kwargs):
        answer = super().forward(*args, **kwargs)
        answer.logits[..., TOKEN] += 3
        return answer
"""
CODE: Mapping[str, bytes] = {
    "configuration_own.py": CONFIGURATION.encode(),
    "modeling_own.py": MODELING.encode(),
    "bias.py": f"TOKEN = {TOKEN}\n".encode(),
}
# What lies in the other repository and nothing reaches: it must not come along.
BESIDE: Mapping[str, bytes] = {
    "README.md": b"---\nlicense: mit\n---\nCode.\n",
    "train.py": b"import torch\n",
    "pytorch_model.bin": b"\x80\x02pickled",
}


def write_model(directory: Path, where: str = OTHER) -> Path:
    """A llama whose classes are in `where`; "" puts references to files of its own."""
    models.write_llama(directory)
    prefix = f"{where}--" if where else ""
    config = json.loads((directory / "config.json").read_text())
    config |= {
        "model_type": "own",
        "architectures": ["OwnForCausalLM"],
        "auto_map": {
            "AutoConfig": f"{prefix}configuration_own.OwnConfig",
            "AutoModelForCausalLM": f"{prefix}modeling_own.OwnForCausalLM",
        },
    }
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def allowance(check: str, **values: object) -> Allowance:
    return Allowance(**{
        "check": check, "reason": "read by two people", "owner": "olga", "expires": FAR, **values,
    })  # type: ignore[arg-type]  # fmt: skip


def pin(commit: str, repo: str = OTHER, **values: object) -> Allowance:
    return allowance("foreign-code", foreign=f"{repo}@{commit}", **values)


def files(code: Mapping[str, bytes] = CODE) -> tuple[Allowance, ...]:
    return tuple(
        allowance("remote-code", digest=hashlib.sha256(body).hexdigest()) for body in code.values()
    )


def policy(*allow: Allowance) -> Policy:
    return Policy(
        schema="pratique.policy/v1", name="own", allow=allow, serve=ServeRules(lock="reduced")
    )


class Upstream:
    """A Hub with the model and the repository that its code is in."""

    def __init__(self, root: Path, code: Mapping[str, bytes] | None = None) -> None:
        self.root = root
        self.home = root / "home"
        self.hub = LoopbackHub()
        self.lies = []
        self.requests = []
        self.code = {**(CODE if code is None else code), **BESIDE}
        self.commit = self.hub.add(OTHER, write_tree(root / "code", self.code))
        self.model_commit = self.hub.add(MODEL, write_model(_made(root / "tuned")))

    def respond(self, request):
        reply = self.hub.respond(request)
        for lie in self.lies:
            reply = lie(request, reply)
        self.requests.append(request)
        return reply

    def fetch(self, rules: Policy, gate=None, request: HubRequest | None = None, **options):
        patience = Patience(attempts=2, sleep=lambda _: None, jitter=lambda: 1.0, drip=1e9)
        with self.hub.running(self.respond) as url:
            endpoint = Endpoint.parse(url)
            with hub_session(endpoint, timeout=20, patience=patience) as session:
                gate = gate or LocalGate(rules)
                fetching = HubFetch(session, self.home, rules, gate, **options)
                return fetching.run(request or HubRequest(MODEL))

    def asked(self, part: str) -> list[str]:
        return [request.path for request in self.requests if part in request.path]


class Judging(StubGate):
    """The real checks, in this process: the lock around them is not what these tests are about."""

    def __init__(self, rules: Policy) -> None:
        super().__init__()
        self.rules = rules

    def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
        self.seen.append((stage, candidate, frozenset()))
        found = examine(candidate, self.rules, stage)
        findings = allow(found.findings, self.rules, candidate, NOON, complete=False)
        return Verdict(
            Subject(candidate.name, found.digest, foreign=found.foreign),
            PolicyRef(self.rules.name, self.rules.digest),
            findings,
        )


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def paths(found: Iterable[object]) -> set[str]:
    return {str(item.path) for item in found}  # type: ignore[attr-defined]
