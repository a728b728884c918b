"""The whole story on one machine: what a vetter, a courier and an operator would type, in order.

Every step runs the real `pratique` command in a process of its own, in a connected home and in an
enclave's home that share nothing but the bundle. Nothing is scripted but the order: what a step
says is what the command said, and a step that ends otherwise than told is a failure of the demo.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pratique.errors import PratiqueError, ServeError
from pratique.flows.loopback_hub import LoopbackHub
from pratique.flows.sample import sample_directory

PROMPT: Final = (
    "My name is Maria Keller, my e-mail is maria.keller@example.org and my card is "
    "4111 1111 1111 1111. What does pratique do with my data?"
)
_READY_WITHIN: Final = 120.0
# A pickle that would call print() when unpickled: enough to be refused, harmless if it were not.
_PICKLE: Final = (
    b"\x80\x02cbuiltins\nprint\nX\x10\x00\x00\x00weights unpickledq\x00\x85q\x01Rq\x02."
)
_CARD: Final = "---\nlicense: apache-2.0\n---\n# {name}\n"
_CONFIG: Final[dict[str, object]] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64,
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "max_position_embeddings": 64,
}  # fmt: skip


class DemoFailed(PratiqueError):
    """A step of the demo did not end as told."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Begin:
    """A step begins: what it is about, and what is typed."""

    chapter: str
    title: str
    command: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step ended as told. `refused`: it was meant to be, and was. `lines`: what the command said."""

    refused: bool
    exit_code: int
    seconds: float
    lines: tuple[str, ...] = ()


Event = Begin | Outcome
Keep = Callable[[str, str], list[str]]
"""Picks, from what a command wrote to stdout and stderr, the lines worth showing."""


@dataclass(slots=True)
class Story:
    """The demo in `folder`, which it fills and leaves to the caller to keep or remove."""

    folder: Path
    reduced_lock: bool = False
    _children: list[subprocess.Popen[str]] = field(default_factory=list)
    _said: str = ""

    def tell(self) -> Iterator[Event]:
        """Run every step. Raises DemoFailed, naming the step that ended otherwise than told."""
        try:
            yield from self._prepare()
            hub = LoopbackHub()
            self._host(hub)
            with hub.running() as url:
                yield from self._refusals(url)
                yield from self._fetch(url)
            yield from self._seal()
            yield from self._admit()
            yield from self._serve()
            yield from self._tamper()
        finally:
            self.stop()

    def stop(self) -> None:
        """End whatever the story started."""
        for child in self._children:
            if child.poll() is None:
                child.terminate()
        for child in self._children:
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()

    # --- chapters --------------------------------------------------------------------------------

    def _prepare(self) -> Iterator[Event]:
        keys = self.folder / "keys"
        keys.mkdir(parents=True)
        chapter = "Once: two people, two keys, one trust root"
        for who in ("vetter", "approver"):
            yield from self._run(chapter, f"{who}'s key", ["keys", "new", str(keys / who)])
        yield from self._run(
            chapter,
            "who may sign",
            ["trust", "init", "--team", str(self.folder / "trust"), "--vetter", str(keys / "vetter.pub"),
             "--approver", str(keys / "approver.pub"), "--admin", str(keys / "approver.pub"),
             "--key", str(keys / "approver.key")],
        )  # fmt: skip
        fingerprint = self._fingerprint()
        yield from self._run(
            chapter,
            "the enclave pins that root",
            ["trust", "install", str(self.folder / "trust"), *fingerprint],
            home="enclave",
        )

    def _host(self, hub: LoopbackHub) -> None:
        for name, files in (
            ("acme/pickled", {"pytorch_model.bin": _PICKLE}),
            (
                "acme/remote-code",
                {
                    "modeling_acme.py": b"import socket\n\n\nclass AcmeModel:\n    pass\n",
                    "config.json": json.dumps(
                        {**_CONFIG, "auto_map": {"AutoModelForCausalLM": "modeling_acme.AcmeModel"}}
                    ).encode(),
                },
            ),
        ):
            directory = self.folder / "hub" / name
            directory.mkdir(parents=True)
            base = {
                "README.md": _CARD.format(name=name).encode(),
                "config.json": json.dumps(_CONFIG).encode(),
            }
            hub.add(name, directory, files={**base, **files})
        hub.add("pratique/sample", sample_directory(), message="The sample model")

    def _refusals(self, url: str) -> Iterator[Event]:
        chapter = "Connected side: two repositories that nobody should carry"
        for repo, title, code in (
            ("acme/pickled", "weights in a pickle", 10),
            ("acme/remote-code", "code that nobody allowlisted", 13),
        ):
            yield from self._run(
                chapter, title, ["fetch", repo, "--endpoint", url], expect=code, keep=_reasons
            )

    def _fetch(self, url: str) -> Iterator[Event]:
        chapter = "Connected side: one that may travel"
        command = [
            "fetch",
            "pratique/sample@main",
            "--endpoint",
            url,
            "--into",
            self._at("snapshot"),
        ]
        yield from self._run(chapter, "fetched at its pinned commit, proved by git", command)
        yield from self._run(chapter, "vetted", ["vet", self._at("snapshot")], keep=_verdict)

    def _seal(self) -> Iterator[Event]:
        chapter = "Connected side: one that may travel"
        command = [
            "seal",
            self._at("snapshot"),
            "--key",
            self._at("keys/vetter.key"),
            "-o",
            self._at("bundles"),
        ]
        (self.folder / "bundles").mkdir()
        yield from self._run(chapter, "sealed by the vetter", command)
        yield from self._run(
            chapter,
            "vetted again and approved by a second person",
            [
                "approve",
                str(self._bundle()),
                "--key",
                self._at("keys/approver.key"),
                "--reason",
                "demo",
            ],
        )

    def _admit(self) -> Iterator[Event]:
        chapter = "Enclave: verify, admit, serve with no way out"
        media = self.folder / "media"
        media.mkdir()
        shutil.copytree(self._bundle(), media / self._bundle().name)
        policy = self._policy()
        yield from self._run(
            chapter, "verified: signatures, every byte, the commit",
            ["verify", str(self._carried()), "--policy", policy], home="enclave",
        )  # fmt: skip
        yield from self._run(
            chapter, "admitted into a read-only store",
            ["admit", str(self._carried()), "--as", "sample", "--policy", policy], home="enclave",
        )  # fmt: skip

    def _serve(self) -> Iterator[Event]:
        chapter = "Enclave: verify, admit, serve with no way out"
        command = ["serve", "sample", "--port", "0", "--policy", self._policy()]
        yield Begin(chapter, "served offline, in the lock", _typed(command))
        started = time.monotonic()
        log = self.folder / "serve.err"
        with log.open("w", encoding="utf-8") as err:
            child = subprocess.Popen(
                _argv(command), env=self._environment("enclave"), stdout=subprocess.PIPE, stderr=err,
                text=True,
            )  # fmt: skip
        self._children.append(child)
        url = self._ready(child, log)
        yield Outcome(False, 0, time.monotonic() - started, _serving_lines(_read(log)))
        yield from self._chat(chapter, url)
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=30)

    def _chat(self, chapter: str, url: str) -> Iterator[Event]:
        yield Begin(chapter, f"asked over HTTP: {PROMPT}", "POST /v1/chat/completions")
        started = time.monotonic()
        body = {
            "model": "sample", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 96,
            "temperature": 0,
        }  # fmt: skip
        request = urllib.request.Request(  # noqa: S310 - our own server on loopback
            f"{url}/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
            reply = json.load(answer)
        text = str(reply["choices"][0]["message"]["content"]).strip()
        if not text:
            raise DemoFailed("the sample model answered nothing")
        yield Outcome(False, 0, time.monotonic() - started, (f"answer: {text}",))
        yield Begin(chapter, "and what the log kept of it", "log line")
        yield Outcome(False, 0, 0.0, (self._log_line(),))

    def _tamper(self) -> Iterator[Event]:
        chapter = "One byte of the sealed weights is flipped on the medium"
        weights = self._carried() / "payload" / "model" / "model.safetensors"
        weights.chmod(0o600)
        with weights.open("r+b") as stream:
            stream.seek(-1, os.SEEK_END)
            last = stream.read(1)[0]
            stream.seek(-1, os.SEEK_END)
            stream.write(bytes([last ^ 1]))
        yield from self._run(
            chapter, "admission", ["admit", str(self._carried()), "--policy", self._policy()],
            home="enclave", expect=11, keep=_reasons,
        )  # fmt: skip

    # --- how ---------------------------------------------------------------------------------------

    def _run(
        self,
        chapter: str,
        title: str,
        command: Sequence[str],
        *,
        home: str = "connected",
        expect: int = 0,
        keep: Keep | None = None,
    ) -> Iterator[Event]:
        yield Begin(chapter, title, _typed(command))
        started = time.monotonic()
        done = subprocess.run(
            _argv(command), env=self._environment(home), capture_output=True, text=True, check=False,
            timeout=300,
        )  # fmt: skip
        self._said = done.stdout + done.stderr
        if done.returncode != expect:
            raise DemoFailed(
                f"`{_typed(command)}` ended with {done.returncode} instead of {expect}: "
                f"{(done.stderr or done.stdout).strip()[-400:]}",
                hint="please report this; `pratique doctor` says what this host lacks",
            )
        lines = (keep or _first)(done.stdout, done.stderr)
        yield Outcome(expect != 0, done.returncode, time.monotonic() - started, tuple(lines))

    def _at(self, name: str) -> str:
        return str(self.folder / name)

    def _bundle(self) -> Path:
        return next((self.folder / "bundles").glob("*.bundle"))

    def _carried(self) -> Path:
        return next((self.folder / "media").glob("*.bundle"))

    def _fingerprint(self) -> list[str]:
        """Read the root's words off what `trust init` printed, as the administrator would aloud."""
        for line in self._said.splitlines():
            label, _, words = line.partition(" ")
            if label == "fingerprint":
                return ["--fingerprint", words.strip()]
        raise DemoFailed("`trust init` showed no fingerprint")

    def _policy(self) -> str:
        path = self.folder / "enclave-policy.toml"
        if not path.exists():
            lock = "reduced" if self.reduced_lock else "strict"
            path.write_text(
                'schema = "pratique.policy/v1"\nname = "demo-enclave"\n'
                f'[serve]\nlock = "{lock}"\ntext_logging = "redacted"\n',
                encoding="utf-8",
            )
        return str(path)

    def _environment(self, home: str) -> dict[str, str]:
        keep = {k: v for k, v in os.environ.items() if k in {"PATH", "LANG", "LC_ALL", "TMPDIR"}}
        return {
            **keep,
            "HOME": self._at(home),
            "PRATIQUE_HOME": self._at(home),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }

    def _ready(self, child: subprocess.Popen[str], log: Path) -> str:
        """Wait for the line with the URL, which `serve` prints when it is ready."""
        assert child.stdout is not None  # it was given a pipe
        for line in child.stdout:
            if line.startswith("http"):
                return line.strip()
        raise ServeError(f"serve ended: {_read(log).strip()[-300:]}", hint="run `pratique doctor`")

    def _log_line(self) -> str:
        for path in sorted((self.folder / "enclave").rglob("*.jsonl"), reverse=True):
            for line in reversed(_read(path).splitlines()):
                if "[EMAIL" in line and "[CARD" in line:
                    if "keller@" in line or "4111" in line or "Keller" in line:
                        raise DemoFailed("personal data reached the log")
                    return line
        raise DemoFailed("the request was not found in the log")


def _argv(command: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "pratique.cli.main", *command]


def _typed(command: Sequence[str]) -> str:
    """What a person would type, paths cut to their last part."""
    return "pratique " + " ".join(
        Path(word).name if "/" in word and word[0] == "/" else f"'{word}'" if " " in word else word
        for word in command
    )


def _first(out: str, err: str) -> list[str]:
    del err
    return [Path(line).name if line.startswith("/") else line for line in out.splitlines()[:1]]


def _reasons(out: str, err: str) -> list[str]:
    return [line.strip() for line in (err + out).splitlines() if line.strip()][:6]


def _verdict(out: str, err: str) -> list[str]:
    lines = [line.strip() for line in (out + err).splitlines() if line.strip()]
    return [line for line in lines if "PASSED" in line][:1] or lines[-1:]


def _serving_lines(text: str) -> tuple[str, ...]:
    wanted = ("free memory", "→", "loaded on", "lock:")
    return tuple(line.strip() for line in text.splitlines() if line.startswith(wanted))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
