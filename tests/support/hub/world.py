"""A loopback Hub, a home, and one call that fetches from it; any answer can be replaced by a lie."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pratique.core.candidate import Candidate
from pratique.core.findings import (
    Disposition,
    Finding,
    PolicyRef,
    Severity,
    Subject,
    Verdict,
)
from pratique.core.manifest import Manifest
from pratique.core.policy import Policy
from pratique.core.snapshot import Snapshot
from pratique.core.stages import Stage
from pratique.fetch.hub import HubFetch
from pratique.fetch.patience import Patience
from pratique.fetch.pinning import HubRequest
from pratique.fetch.session import hub_session
from pratique.fetch.urls import Endpoint
from pratique.flows.loopback_hub import FilePart, LoopbackHub, Reply, Request

REPO = "org/name"
Lie = Callable[[Request, Reply], Reply]
NOTHING = Manifest(()).digest


def policy(**fetch: object) -> Policy:
    return Policy.model_validate(
        {"schema": "pratique.policy/v1", "name": "test", "fetch": fetch}, strict=False
    )


@dataclass
class StubGate:
    """Passes everything, or answers with `disposition` at one stage; remembers what it was shown."""

    at: Stage | None = None
    disposition: Disposition = Disposition.REFUSE
    seen: list[tuple[Stage, Candidate, frozenset[str]]] = field(default_factory=list)

    def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
        here = frozenset(
            p.relative_to(candidate.root).as_posix()
            for p in candidate.root.rglob("*")
            if p.is_file()
        )
        self.seen.append((stage, candidate, here))
        findings: tuple[Finding, ...] = ()
        if stage is self.at:
            findings = (
                Finding("stub", Severity.HIGH, self.disposition, "config.json", "no", "do not"),
            )
        return Verdict(
            Subject(candidate.name, NOTHING, repo=candidate.repo),
            PolicyRef("test", NOTHING),
            findings,
        )

    @property
    def stages(self) -> list[Stage]:
        return [stage for stage, _, _ in self.seen]


class Recorder:
    """Patience that never sleeps but remembers how long it would have."""

    def __init__(self, attempts: int = 3) -> None:
        self.slept: list[float] = []
        self.patience = Patience(
            attempts=attempts, sleep=self.slept.append, jitter=lambda: 1.0, drip=1e9
        )


def write_tree(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


WEIGHTS = (2).to_bytes(8, "little") + b"{}" + bytes(range(256)) * 2000
MODEL: Mapping[str, bytes] = {
    "config.json": b'{"model_type": "llama"}\n',
    "README.md": b"---\nlicense: mit\n---\nA model.\n",
    "tokenizer.json": b'{"version": "1.0"}\n',
    "model.safetensors": WEIGHTS,
    "docs/notes.md": b"notes\n",
}


class World:
    """One Hub with one repository, one home. `lies` are applied to every answer, in order."""

    def __init__(self, base: Path, files: Mapping[str, bytes] = MODEL) -> None:
        self.base = base
        self.home = base / "home"
        self.hub = LoopbackHub()
        self.source = write_tree(base / "upstream", files)
        self.commit = self.hub.add(REPO, self.source)
        self.gate = StubGate()
        self.recorder = Recorder()
        self.lies: list[Lie] = []
        self.requests: list[Request] = []
        self.sent = 0
        self.release = threading.Event()
        self._lock = threading.Lock()

    def respond(self, request: Request) -> Reply:
        reply = self.hub.respond(request)
        for lie in self.lies:
            reply = lie(request, reply)
        with self._lock:
            self.requests.append(request)
            self.sent += reply.announced or 0
        return reply

    def fetch(
        self,
        request: HubRequest | None = None,
        *,
        rules: Policy | None = None,
        into: Path | None = None,
        timeout: float = 20.0,
    ) -> Snapshot:
        rules = rules or policy()
        try:
            with self.hub.running(self.respond) as url:
                endpoint = Endpoint.parse(url, redirect_hosts=rules.fetch.redirect_hosts)
                with hub_session(
                    endpoint, timeout=timeout, patience=self.recorder.patience
                ) as session:
                    fetching = HubFetch(session, self.home, rules, self.gate, into=into)
                    return fetching.run(request or HubRequest(REPO))
        finally:
            self.release.set()

    def asked(self, part: str) -> list[Request]:
        return [request for request in self.requests if part in request.path]

    @property
    def finals(self) -> list[Path]:
        """Whole snapshots in quarantine."""
        return [p for p in (self.home / "quarantine").glob("*") if not p.name.startswith(".")]


# --- lies ----------------------------------------------------------------------------------------


def on(part: str, change: Lie, *, times: int = 1_000_000, method: str | None = None) -> Lie:
    """Apply `change` to the first `times` answers whose path has `part`."""
    lock = threading.Lock()
    left = [times]

    def lie(request: Request, reply: Reply) -> Reply:
        if part not in request.path or (method is not None and request.method != method):
            return reply
        with lock:
            left[0] -= 1
            if left[0] < 0:
                return reply
        return change(request, reply)

    return lie


def content(reply: Reply) -> bytes:
    match reply.body:
        case bytes() as body:
            return body
        case FilePart() as part:
            return part.path.read_bytes()[part.start : part.start + part.size]
        case pieces:
            return b"".join(pieces)


def flip_last_byte(_request: Request, reply: Reply) -> Reply:
    body = content(reply)
    return replace(reply, body=body[:-1] + bytes([body[-1] ^ 1]))


def with_headers(headers: Mapping[str, str]) -> Lie:
    return lambda _request, reply: replace(reply, headers={**reply.headers, **headers})


def with_status(status: int, headers: Mapping[str, str] | None = None) -> Lie:
    return lambda _request, _reply: Reply(status, headers or {}, b"{}")


def with_body(body: bytes) -> Lie:
    return lambda _request, reply: replace(reply, body=body)


def edited(change: Callable[[bytes], bytes]) -> Lie:
    return lambda _request, reply: replace(reply, body=change(content(reply)))


def cut_after(count: int) -> Lie:
    """Announce everything, send `count` bytes, hang up."""

    def lie(_request: Request, reply: Reply) -> Reply:
        body = content(reply)
        return replace(reply, body=iter([body[:count]]), length=len(body))

    return lie


def endless(piece: bytes = b"x" * 65536) -> Lie:
    """No length, and bytes for ever."""

    def forever() -> Iterator[bytes]:
        while True:
            yield piece

    return lambda _request, reply: replace(reply, body=forever(), length=None)


def stalled(world: World, after: int) -> Lie:
    """Send `after` bytes and then nothing, without hanging up."""

    def lie(_request: Request, reply: Reply) -> Reply:
        body = content(reply)

        def pieces() -> Iterator[bytes]:
            yield body[:after]
            world.release.wait(30)

        return replace(reply, body=pieces(), length=len(body))

    return lie


def sizes(requests: Sequence[Request]) -> list[str]:
    return [request.headers.get("range", "") for request in requests]
