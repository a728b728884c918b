"""The commands as a person types them, with the real gate, against a loopback Hub."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pratique.cli.main import run
from pratique.core.findings import PolicyRef, Subject, Verdict
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.flows.loopback_hub import LoopbackHub, Reply
from pratique.store.quarantine import open_snapshot
from tests.support.bundles import OpenGate
from tests.support.foreign import CODE, MODEL, OTHER, Upstream
from tests.support.hub.tls import make_pki, tls_serving
from tests.support.hub.world import StubGate, write_tree
from tests.support.models import write_llama, write_model, write_pickle_repo, write_remote_code_repo

SAMPLE = Path(__file__).resolve().parents[2] / "bundles" / "sample"
RECIPES = SAMPLE.parent


class Cli:
    """Runs `pratique …` in this process and keeps what it said."""

    def __init__(self, home: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capture = capture

    def __call__(self, *argv: object) -> tuple[int, str, str]:
        code = run(["--home", str(self.home), *map(str, argv)])
        said = self._capture.readouterr()
        return code, said.out.strip(), said.err


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(tmp_path / "home", capsys)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is not about the gate: one that passes everything, at once."""
    monkeypatch.setattr("pratique.vet.LocalGate", lambda _policy, **_: StubGate())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    hub = LoopbackHub()
    with hub.running() as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield hub


def test_a_good_repository_is_fetched(cli: Cli, hub: LoopbackHub) -> None:
    commit = hub.add("org/sample", SAMPLE)
    code, out, err = cli("fetch", "org/sample")
    assert code == 0, err
    assert out == str(cli.home / "quarantine" / f"org--sample@{commit}")
    assert "proof verified" in err
    assert open_snapshot(Path(out)).source.commit == commit


def test_a_model_in_shards_is_fetched(cli: Cli, hub: LoopbackHub, tmp_path: Path) -> None:
    """The confined gate sees the index after the listing and before the shards."""
    root = tmp_path / "sharded"
    write_model(root, "llama", shards=3)
    hub.add("org/sharded", root)
    code, out, err = cli("fetch", "org/sharded")
    assert code == 0, err
    assert len(list(Path(out).rglob("*.safetensors"))) == 3


def test_show_says_who_made_the_commit_and_whether_it_is_signed(
    cli: Cli, hub: LoopbackHub, tmp_path: Path
) -> None:
    """Author, date, message, and the signature under the keys that the policy lists, offline."""
    ssh, key = tmp_path / "id", tmp_path / "vetter"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ssh)], check=True)

    def sign(body: bytes) -> bytes:
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(ssh)]
        return subprocess.run(argv, check=True, input=body, capture_output=True).stdout

    hub.add("org/sample", SAMPLE, author="Ann <ann@example.org>", message="Why\x1b[31m", sign=sign)
    public = ssh.with_suffix(".pub").read_text().strip()
    listed = tmp_path / "listed.toml"
    strict = (SAMPLE.parents[1] / "policies" / "strict.toml").read_text()
    listed.write_text(
        strict.replace("[fetch]\n", f'[fetch]\ncommit_signing_keys = ["{public}"]\n', 1)
    )
    assert cli("keys", "new", key)[0] == 0
    code, snapshot, err = cli("fetch", "org/sample")
    assert code == 0, err
    code, bundle, err = cli("seal", snapshot, "--key", f"{key}.key", "-o", tmp_path / "b")
    assert code == 0, err
    said = {}
    for policy in ("strict", listed):
        code, out, err = cli("show", bundle, "--policy", policy, "--json")
        assert code == 0, err
        said[policy] = json.loads(out)
    assert said["strict"]["author"] == "Ann <ann@example.org>"
    assert said["strict"]["date"] == "2023-11-14T22:13:20+00:00"
    assert said["strict"]["message"].strip() == "Why\x1b[31m"
    assert said["strict"]["commit_signature"]["state"] == "other_key"
    assert said[listed]["commit_signature"]["state"] == "verified"
    code, out, _ = cli("show", bundle, "--policy", listed)
    assert code == 0
    assert "verified SHA256:" in out
    assert "\x1b" not in out


def test_no_proof_is_not_sealed_under_a_policy_that_requires_one(
    cli: Cli, hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot fetched where a proof is only reported does not slip into a stricter bundle."""
    hub.add("org/sample", SAMPLE)
    monkeypatch.setattr(hub, "_advertise", lambda *_: Reply(404), raising=False)
    code, _, err = cli("fetch", "org/sample")
    assert code == 4
    assert "cannot be proved" in err
    code, snapshot, err = cli("fetch", "org/sample", "--policy", "standard")
    assert code == 0, err
    assert "proof none" in err
    key = tmp_path / "vetter"
    assert cli("keys", "new", key)[0] == 0
    code, _, err = cli("seal", snapshot, "--key", f"{key}.key", "-o", tmp_path / "strict")
    assert code == 11
    assert "no commit proof" in err
    assert not (tmp_path / "strict").exists()
    code, bundle, err = cli(
        "seal", snapshot, "--key", f"{key}.key", "-o", tmp_path / "b", "--policy", "standard"
    )
    assert code == 0, err
    code, out, _ = cli("show", bundle, "--json")
    assert json.loads(out)["commit_proof"] == "none"
    assert json.loads(out)["commit_signature"] is None


@pytest.mark.parametrize("revision", ["main", "v1", None])
def test_branch_tag_and_commit(
    quick: None, cli: Cli, hub: LoopbackHub, revision: str | None
) -> None:
    commit = hub.add("org/sample", SAMPLE)
    hub.tag("org/sample", "v1", commit)
    code, out, err = cli("fetch", f"org/sample@{revision or commit}", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert (said["schema"], said["commit"], said["proof"]) == (
        "pratique.fetch/v1", commit, "verified",
    )  # fmt: skip


def test_into_makes_exactly_that(quick: None, cli: Cli, hub: LoopbackHub, tmp_path: Path) -> None:
    hub.add("org/sample", SAMPLE)
    code, out, err = cli("fetch", "org/sample", "--into", tmp_path / "here")
    assert code == 0, err
    assert out == str(tmp_path / "here")
    assert {p.name for p in (tmp_path / "here").iterdir()} == {
        "snapshot.json", "model", "provenance",
    }  # fmt: skip


def test_another_selection_of_the_same_commit_is_not_passed_off_as_the_wanted_one(
    quick: None, cli: Cli, hub: LoopbackHub
) -> None:
    hub.add("org/sample", SAMPLE)
    code, out, _ = cli("fetch", "org/sample", "--without", "LICENSE")
    assert code == 0
    assert cli("fetch", "org/sample", "--without", "LICENSE", "--without", "none")[:2] == (0, out)
    for more in ((), ("--only", "*.json"), ("--without", "*.md", "--without", "LICENSE")):
        code, _, err = cli("fetch", "org/sample", *more)
        assert code == 5
        assert "other files of this commit" in err


def test_pickle_weights_are_refused_before_download(
    cli: Cli, hub: LoopbackHub, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    root = _made(tmp_path / "bad")
    write_pickle_repo(root, canary=canary)
    (root / "pytorch_model.bin").write_bytes(
        (root / "pytorch_model.bin").read_bytes() + bytes(4 << 20)
    )
    hub.add("org/bad", root)
    code, out, err = cli("fetch", "org/bad")
    assert code == 10, err
    assert out == ""
    assert "pytorch_model.bin" in err
    assert "before they were downloaded" in err
    assert not canary.exists()
    assert not list((cli.home / "quarantine").rglob("*.bin"))


def test_remote_code_is_refused_or_needs_approval(
    cli: Cli, hub: LoopbackHub, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    root = _made(tmp_path / "code")
    write_remote_code_repo(root, canary=canary)
    hub.add("org/code", root)
    code, out, err = cli("fetch", "org/code", "--json")
    assert code in {10, 13}, err
    assert json.loads(out)["findings"]
    assert "remote-code" in err
    assert not canary.exists()


@pytest.mark.slow
def test_code_of_another_repository_from_refusal_to_snapshot_as_the_messages_say(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = Upstream(tmp_path)
    policy = tmp_path / "team.toml"
    head = 'schema = "pratique.policy/v1"\nname = "team"\n[serve]\nlock = "reduced"\n'
    with upstream.hub.running() as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        code, out, err = cli("fetch", MODEL)
        assert (code, out) == (10, "")
        assert 'foreign = "ORG/NAME@COMMIT"' in err.replace("\n", " ")
        given = f'check = "foreign-code"\nforeign = "{OTHER}@{upstream.commit}"\n'
        policy.write_text(f"{head}[[allow]]\n{given}{_SAID}")
        code, out, err = cli("fetch", MODEL, "--policy", policy)
        assert (code, out) == (13, "")
        entries = err[err.index("[[allow]]") : err.index("refused:")]
        assert entries.count("[[allow]]") == len(CODE)
        said = entries.replace('reason = ""\nowner = ""\nexpires = # YYYY-MM-DD\n', _SAID)
        policy.write_text(policy.read_text() + said)
        code, out, err = cli("fetch", MODEL, "--policy", policy)
        assert code == 0, err
    assert cli("vet", out, "--policy", policy)[0] == 0
    code, text, _ = cli("vet", out, "--policy", "standard")
    assert code == 13
    assert f'foreign = "{OTHER}@{upstream.commit}"' in text


_SAID = 'reason = "read by two people"\nowner = "olga"\nexpires = 2099-01-01\n'


def _made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize(
    ("argument", "code", "words"),
    [
        ("org/none", 4, "not found"),
        ("org/sample@nope", 4, "revision"),
        ("not a repo", 2, "not a repository id"),
        ("a/b/c", 2, "not a repository id"),
        ("org/sample@", 2, "not a revision"),
        ("org/sample@a b", 2, "not a revision"),
        ("./nothing", 5, "not a directory"),
        ("/dev/null", 5, "not a directory"),
    ],
)
def test_bad_input_says_what_and_what_to_do(
    cli: Cli, hub: LoopbackHub, argument: str, code: int, words: str
) -> None:
    hub.add("org/sample", SAMPLE)
    got, out, err = cli("fetch", argument)
    assert (got, out) == (code, "")
    assert words in err
    assert "hint:" in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 2


def test_a_directory_never_stands_in_for_a_repository(
    cli: Cli, hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`org/name` in the working directory is not taken for the repository of that name."""
    write_tree(tmp_path / "org/planted", {"config.json": b"{}"})
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("fetch", "org/planted")
    assert code == 4
    assert "not found" in err


def test_an_endpoint_that_is_none(cli: Cli) -> None:
    code, _, err = cli("fetch", "org/name", "--endpoint", "nonsense")
    assert code == 2
    assert "https://HOST" in err


def test_a_directory_is_fetched(cli: Cli, tmp_path: Path) -> None:
    root = write_llama(_made(tmp_path / "tiny"))
    code, out, err = cli("fetch", str(root))
    assert code == 0, err
    assert Path(out).name.startswith("tiny@")


def test_a_full_disk_keeps_what_is_there(
    quick: None, cli: Cli, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("org/sample", SAMPLE)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pratique.fetch.sink.os.pwrite", full)
        code, _, err = cli("fetch", "org/sample")
    assert code == 7
    assert "No space left" in err
    assert "kept" in err
    assert cli("fetch", "org/sample")[0] == 0


def test_nothing_is_printed_but_the_path_when_not_a_terminal(hub: LoopbackHub, tmp_path) -> None:
    hub.add("org/sample", SAMPLE)
    env = {**os.environ, "PRATIQUE_HOME": str(tmp_path / "home")}
    argv = [sys.executable, "-m", "pratique.cli.main", "fetch", "org/sample"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert "\x1b" not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1


# --- a Hub behind a network's own CA, which wants to know who asks ----------------------------------


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """HF_ENDPOINT is a Hub with mutual TLS; returns where the keys are."""
    pki = make_pki(_made(tmp_path / "pki"))
    hub = LoopbackHub()
    hub.add("org/sample", SAMPLE)
    with tls_serving(pki, hub.respond, wants_certificate=True) as url:
        hub.url = url
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield pki


@pytest.mark.usefixtures("passing")
def test_fetch_lock_and_build_reach_a_hub_with_mutual_tls(
    cli: Cli, guarded: Path, recipe: Path, key: Path, tmp_path: Path
) -> None:
    who = ("--cert", guarded / "client.pem", "--cert-key", guarded / "client.key")
    ca = ("--ca", guarded / "ca.pem")
    code, _, err = cli("fetch", "org/sample", "--timeout", "5")
    assert (code, "--ca" in err) == (4, True)
    assert cli("fetch", "org/sample", *ca, "--timeout", "5")[0] == 4
    assert cli("lock", recipe, *ca, *who)[0] == 0
    code, out, err = cli("build", recipe, "--key", key, "-o", tmp_path / "o.bundle", *ca, *who)
    assert code == 0, err
    assert document(out)["commit_proof"] == "verified"


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0", "1e9", "x"])
@pytest.mark.parametrize("verb", ["fetch", "lock", "build"])
def test_a_timeout_is_a_number_of_seconds(cli: Cli, verb: str, seconds: str) -> None:
    code, _, err = cli(verb, "org/sample", "--timeout", seconds)
    assert code == 2
    assert "--timeout" in err


# --- tokens ----------------------------------------------------------------------------------------

SECRETS = ("hf_NeverToBeSeenAgain", "proxy-password")


@pytest.mark.slow
def test_no_token_is_echoed_logged_or_sealed(
    hub: LoopbackHub, recipe: Path, tmp_path: Path
) -> None:
    """Everything that is said and everything that is left behind, talkative as it can be made."""
    hub.add("org/sample", SAMPLE)
    hub.add("org/gated", SAMPLE)
    home = tmp_path / "home"
    env = {
        **os.environ, "PRATIQUE_HOME": str(home), "HF_TOKEN": SECRETS[0], "HF_DEBUG": "1",
        "HF_HUB_VERBOSITY": "debug", "HF_HOME": str(tmp_path / "hf"), "PRATIQUE_TRACEBACK": "1",
        "HTTPS_PROXY": f"http://user:{SECRETS[1]}@127.0.0.1:9", "NO_PROXY": "",
    }  # fmt: skip
    said = b""

    def pratique(*argv: object, code: int = 0) -> str:
        nonlocal said
        done = subprocess.run(
            [sys.executable, "-m", "pratique.cli.main", "-v", *map(str, argv)],
            env=env, capture_output=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        said += done.stdout + done.stderr
        assert done.returncode == code, done.stderr.decode()
        return done.stdout.decode().strip()

    pratique("keys", "new", tmp_path / "vetter")
    pratique("fetch", "org/none", code=4)
    pratique("fetch", "org/sample@none", code=4)
    pratique("fetch", "org/sample", "--endpoint", "https://127.0.0.1:9", code=4)
    pratique("fetch", "org/sample", "--endpoint", "http://mirror.example", code=4)
    snapshot = pratique("fetch", "org/sample", "--without", "LICENSE", "--json")
    pratique("vet", json.loads(snapshot)["snapshot"])
    pratique("lock", recipe)
    bundle = pratique(
        "build", recipe, "--key", tmp_path / "vetter.key", "-o", tmp_path / "o.bundle"
    )
    assert (Path(bundle) / "payload/provenance/record.json").is_file()
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(found) > 50
    for secret in SECRETS:
        assert secret.encode() not in said
        assert [str(path) for path in found if secret.encode() in path.read_bytes()] == []


# --- recipes -------------------------------------------------------------------------------------

RECIPE = """\
schema = "pratique.recipe/v1"
repo = "org/sample"
without = ["LICENSE"]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "sample.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def key(cli: Cli, tmp_path: Path) -> Path:
    assert cli("keys", "new", tmp_path / "vetter")[0] == 0
    return tmp_path / "vetter.key"


def test_lock_names_commit_and_every_digest(
    quick: None, cli: Cli, hub: LoopbackHub, recipe: Path
) -> None:
    commit = hub.add("org/sample", SAMPLE)
    code, out, err = cli("lock", recipe)
    assert code == 0, err
    lock = json.loads(Path(out).read_bytes())
    assert lock["commit"] == commit
    names = {p.name for p in SAMPLE.iterdir()} - {"LICENSE"}
    assert {f["path"] for f in lock["files"]} == names
    code, out, _ = cli("fetch", f"org/sample@{commit}", "--without", "LICENSE")
    manifest = open_snapshot(Path(out)).manifest
    assert lock["manifest"] == manifest.digest
    assert {f["path"]: f["sha256"] for f in lock["files"]} == {f.path: f.sha256 for f in manifest}


def test_lock_check_tells_what_moved(
    cli: Cli, hub: LoopbackHub, recipe: Path, tmp_path: Path
) -> None:
    hub.add("org/sample", SAMPLE)
    assert cli("lock", recipe)[0] == 0
    assert cli("lock", recipe, "--check") == (0, "", "")
    hub.add("org/sample", SAMPLE, files={"new.md": b"x", "config.json": b"{}"})
    before = recipe.with_name("sample.lock.json").read_bytes()
    code, out, err = cli("lock", recipe, "--check")
    assert code == 11
    lines = out.splitlines()
    assert lines[0].startswith("commit ")
    assert [line.split()[:2] for line in lines[1:]] == [
        ["changed", "'config.json'"],
        ["added", "'new.md'"],
    ]
    assert "3 difference" in err
    assert recipe.with_name("sample.lock.json").read_bytes() == before


def test_a_new_lock_tells_what_it_took(cli: Cli, hub: LoopbackHub, recipe: Path) -> None:
    hub.add("org/sample", SAMPLE)
    code, out, err = cli("lock", recipe, "--json")
    assert (code, json.loads(out)["moved"], err) == (0, [], "")
    assert json.loads(cli("lock", recipe, "--json")[1])["moved"] == []

    hub.add("org/sample", SAMPLE, files={"new.md": b"x"})
    code, out, err = cli("lock", recipe, "--json")
    assert (code, err) == (0, "")
    moved = json.loads(out)["moved"]
    assert moved[0].startswith("commit ")
    assert [line.split() for line in moved[1:]] == [["added", "'new.md'"]]

    hub.add("org/sample", SAMPLE, files={"new.md": b"y"})
    code, out, err = cli("lock", recipe)
    assert (code, out) == (0, str(recipe.with_name("sample.lock.json")))
    assert [line.split()[0] for line in err.splitlines()] == ["commit", "changed"]
    assert cli("lock", recipe, "--check") == (0, "", "")


def test_a_lock_that_cannot_be_read_is_replaced_and_nothing_is_claimed(
    cli: Cli, hub: LoopbackHub, recipe: Path
) -> None:
    hub.add("org/sample", SAMPLE)
    lock = recipe.with_name("sample.lock.json")
    lock.write_text("{}")
    code, out, _ = cli("lock", recipe, "--json")
    assert code == 0
    assert json.loads(out)["moved"] is None
    lock.write_text("{}")
    code, _, err = cli("lock", recipe)
    assert code == 0
    assert "could not be read" in err
    assert cli("lock", recipe, "--check") == (0, "", "")


def test_build_seals_what_the_lock_names(
    cli: Cli, hub: LoopbackHub, recipe: Path, key: Path, tmp_path: Path
) -> None:
    hub.add("org/sample", SAMPLE)
    assert cli("lock", recipe)[0] == 0
    hub.add("org/sample", SAMPLE, files={"new.md": b"moved on"})
    (tmp_path / "out").mkdir()
    code, out, err = cli("build", recipe, "--key", key, "-o", tmp_path / "out")
    assert code == 0, err
    assert (Path(out) / "payload/model/model.safetensors").is_file()
    assert not (Path(out) / "payload/model/new.md").exists()
    assert not (Path(out) / "payload/model/LICENSE").exists()
    assert (Path(out) / "payload/provenance/git/commit").is_file()
    kinds = [
        json.loads(line)["unmapped"]["kind"]
        for line in cli("log", "show", "--json")[1].splitlines()
    ]
    assert kinds == ["vetting", "sealed"]


def test_build_refuses_what_the_lock_does_not_name(
    quick: None, cli: Cli, hub: LoopbackHub, recipe: Path, key: Path
) -> None:
    hub.add("org/sample", SAMPLE)
    assert cli("lock", recipe)[0] == 0
    path = recipe.with_name("sample.lock.json")
    lock = json.loads(path.read_bytes())
    lock["files"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(lock))
    code, _, err = cli("build", recipe, "--key", key)
    assert code == 11
    assert "is not what sample.lock.json says" in err


def test_build_without_a_lock_or_key(cli: Cli, recipe: Path, key: Path) -> None:
    code, _, err = cli("build", recipe, "--key", key)
    assert code == 5
    assert "pratique lock" in err
    assert cli("build", recipe)[0] == 6


@pytest.mark.parametrize(
    "text",
    [
        "", "x = ", 'schema = "pratique.recipe/v2"\nrepo = "a/b"', RECIPE + "unknown = 1\n",
        RECIPE + 'directory = "x"\n', 'schema = "pratique.recipe/v1"\n', "\ufffe",
        RECIPE.replace("org/sample", "../x"), RECIPE + "approvals = -1\n",
        'schema = "pratique.recipe/v1"\ndirectory = "../x"\n',
        'schema = "pratique.recipe/v1"\ndirectory = "/etc"\n',
        'schema = "pratique.recipe/v1"\npackage = "json"\n',
        RECIPE + 'platform = "linux"\n', RECIPE + 'name = "other"\n', RECIPE + 'variants = ["nf3"]\n',
        'schema = "pratique.recipe/v1"\ndirectory = "x"\nrevision = "v1"\n',
        RECIPE + 'only = "*.json"\n', RECIPE + "policy = 1\n", RECIPE + "approvals = 17\n",
    ],
)  # fmt: skip
def test_malformed_recipes(cli: Cli, tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    code, _, err = cli("lock", path)
    assert code == 5
    assert "hint:" in err


@pytest.mark.parametrize("name", ["sample", "minilm"])
def test_the_recipes_in_the_repository_are_locked_and_hold(cli: Cli, name: str) -> None:
    code, out, err = cli("lock", RECIPES / f"{name}.toml", "--check")
    assert code == 0, out + err


def judged(candidate, stage, policy):
    """Passed, about the very files (for what is not about the gate)."""
    reference = PolicyRef(policy.name, policy.digest)
    if stage is not Stage.CONTENT:
        return Verdict(Subject(candidate.name, policy.digest, repo=candidate.repo), reference, ())
    return OpenGate(policy).judge(candidate, stage)


@dataclass(frozen=True)
class Passing:
    policy: Policy
    forbidden: tuple[Path, ...] = ()

    def judge(self, candidate, stage):
        return judged(candidate, stage, self.policy)


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pratique.vet.LocalGate", Passing)


def sums(bundle: str) -> str:
    return (Path(bundle) / "payload/SHA256SUMS").read_text()


def document(bundle: str) -> dict[str, object]:
    return json.loads((Path(bundle) / "payload/bundle.json").read_bytes())


def build(cli: Cli, recipe: Path, key: Path, *more: object) -> str:
    assert cli("lock", recipe)[0] == 0
    code, out, err = cli("build", recipe, "--key", key, "-o", recipe.parent / "out.bundle", *more)
    assert code == 0, err
    return out


def test_a_recipe_takes_the_revision_and_the_files_that_it_names(
    passing: None, cli: Cli, hub: LoopbackHub, tmp_path: Path, key: Path
) -> None:
    first = hub.add("org/sample", SAMPLE)
    hub.tag("org/sample", "v1", first)
    hub.add("org/sample", SAMPLE, files={"config.json": b"{}"})
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'schema = "pratique.recipe/v1"\nrepo = "org/sample"\nrevision = "v1"\n'
        'only = ["*.json", "*.safetensors"]\nwithout = ["generation*"]\n'
    )
    found = document(build(cli, recipe, key))
    assert found["source"]["commit"] == first
    names = {f["path"] for f in found["files"] if f["path"].startswith("model/")}
    wanted = {f"model/{p.name}" for p in SAMPLE.iterdir() if p.suffix in {".json", ".safetensors"}}
    assert names == wanted - {"model/generation_config.json"}


def test_a_recipes_policy_is_the_one_beside_it(
    passing: None, cli: Cli, hub: LoopbackHub, recipe: Path, key: Path
) -> None:
    hub.add("org/sample", SAMPLE)
    recipe.write_text(RECIPE + 'policy = "team.toml"\n')
    code, _, err = cli("lock", recipe)
    assert code == 3
    assert "team.toml" in err
    recipe.with_name("team.toml").write_text('schema = "pratique.policy/v1"\nname = "team"\n')
    assert document(build(cli, recipe, key))["policy"]["name"] == "team"


def test_a_recipe_says_how_many_approvals_are_wanted(
    passing: None, cli: Cli, hub: LoopbackHub, recipe: Path, key: Path
) -> None:
    hub.add("org/sample", SAMPLE)
    recipe.write_text(RECIPE + "approvals = 3\n")
    assert json.loads(build(cli, recipe, key, "--json"))["approvals"] == 3


def test_a_directory_has_the_name_that_the_recipe_gives_it(
    passing: None, cli: Cli, tmp_path: Path, key: Path
) -> None:
    write_tree(tmp_path / "some/where", {"config.json": b"{}", "a.md": b"a", ".gitignore": b"x"})
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'schema = "pratique.recipe/v1"\ndirectory = "some/where"\nname = "proper"\n'
        'without = ["*.md"]\n'
    )
    found = document(build(cli, recipe, key))
    assert found["name"] == "proper"
    assert "model/a.md" not in {f["path"] for f in found["files"]}


def test_drift_of_a_directory_is_told_by_file_and_ends_the_build(
    passing: None, cli: Cli, tmp_path: Path, key: Path
) -> None:
    root = write_tree(tmp_path / "model", {n: n.encode() for n in ("a.md", "b.md", "c.md")})
    recipe = tmp_path / "r.toml"
    recipe.write_text('schema = "pratique.recipe/v1"\ndirectory = "model"\n')
    assert cli("lock", recipe)[0] == 0
    (root / "a.md").unlink()
    (root / "b.md").write_bytes(b"B.md")
    (root / "d.md").write_bytes(b"new")
    code, out, err = cli("lock", recipe, "--check", "--json")
    assert code == 11
    assert [line.split()[:2] for line in json.loads(out)["moved"]] == [
        ["removed", "'a.md'"], ["changed", "'b.md'"], ["added", "'d.md'"],
    ]  # fmt: skip
    assert "3 difference" in err
    code, _, err = cli("build", recipe, "--key", key, "-o", tmp_path)
    assert code == 11
    assert "3 file(s) differ" in err
    assert not list(tmp_path.glob("*.bundle"))


def test_a_file_removed_upstream_is_drift(cli: Cli, hub: LoopbackHub, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "up", {"a.md": b"a", "b.md": b"b"})
    recipe = tmp_path / "r.toml"
    recipe.write_text('schema = "pratique.recipe/v1"\nrepo = "org/two"\nwithout = [".git*"]\n')
    hub.add("org/two", root)
    assert cli("lock", recipe)[0] == 0
    (root / "a.md").unlink()
    hub.add("org/two", root)
    code, out, _ = cli("lock", recipe, "--check")
    assert code == 11
    assert [line.split()[:2] for line in out.splitlines()][1:] == [["removed", "'a.md'"]]


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema": "pratique.lock/v2"}', '{"files": [], "files": []}']
)
def test_a_malformed_lock_is_refused(cli: Cli, recipe: Path, key: Path, text: str) -> None:
    recipe.with_name("sample.lock.json").write_text(text)
    code, _, err = cli("build", recipe, "--key", key)
    assert code == 5
    assert "hint:" in err


def test_a_lock_for_another_repository_is_refused(
    passing: None, cli: Cli, hub: LoopbackHub, recipe: Path, key: Path
) -> None:
    hub.add("org/sample", SAMPLE)
    assert cli("lock", recipe)[0] == 0
    recipe.write_text(RECIPE.replace("org/sample", "org/another"))
    code, _, err = cli("build", recipe, "--key", key)
    assert code == 11
    assert "another repository" in err


def test_an_adapters_base_is_sealed_beside_it(
    passing: None, cli: Cli, hub: LoopbackHub, tmp_path: Path, key: Path
) -> None:
    base = hub.add("base/model", write_tree(tmp_path / "base", {"config.json": b"{}"}))
    adapter = json.dumps({"base_model_name_or_path": "base/model", "revision": base}).encode()
    hub.add("org/adapter", write_tree(tmp_path / "adapter", {"adapter_config.json": adapter}))
    recipe = tmp_path / "r.toml"
    recipe.write_text('schema = "pratique.recipe/v1"\nrepo = "org/adapter"\n')
    build(cli, recipe, key)
    beside = tmp_path / f"model@{base[:8]}.bundle"
    assert document(str(beside))["source"]["commit"] == base


@pytest.mark.slow
def test_a_recipe_has_variants_made(cli: Cli, tmp_path: Path, key: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "sample")
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'schema = "pratique.recipe/v1"\ndirectory = "sample"\nvariants = ["nf4", "nf4"]\n'
    )
    bundle = build(cli, recipe, key)
    assert [v["name"] for v in document(bundle)["variants"]] == ["nf4"]
    listed = sums(bundle)
    for name in ("model.safetensors", "config.json", "conversion.json"):
        assert f"  variants/nf4/{name}\n" in listed
    config = json.loads((Path(bundle) / "payload/variants/nf4/config.json").read_bytes())
    assert config["quantization_config"]["load_in_4bit"] is True
    assert "  variants/int8/" not in listed
