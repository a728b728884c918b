"""Standard streams that are closed, full, or whose reader has gone: an exit code that says so."""

import subprocess
import sys
from pathlib import Path

import pytest

PRATIQUE = "import sys; from pratique.cli.main import main; main(sys.argv[1:])"


def shell(home: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run `line` in bash, where `pratique` is the command."""
    return subprocess.run(
        ["bash", "-c", f'pratique() {{ "$PYTHON" -c "$CODE" "$@"; }}; {line}'],
        env={
            "PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "CODE": PRATIQUE,
            "PRATIQUE_HOME": str(home),
        },
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["policy schema", "log show", "policy check strict --json"])
@pytest.mark.parametrize("end", [">&-", ">/dev/full"])
def test_a_result_that_is_lost_is_no_success(tmp_path: Path, command: str, end: str) -> None:
    assert shell(tmp_path, "pratique admit nosuch").returncode == 11  # one event on the ledger
    done = shell(tmp_path, f"pratique {command} {end}")
    assert done.returncode == 7
    assert done.stderr.startswith("refused: ")
    assert "hint: " in done.stderr


def test_a_reader_who_has_gone_is_not_a_bug(tmp_path: Path) -> None:
    done = shell(tmp_path, "pratique policy schema | true; echo ${PIPESTATUS[0]}")
    assert done.stdout.strip() in {"0", "7"}  # 0: all of it was in the pipe before the reader went
    assert done.stderr == ""


def test_closed_messages_and_input_stop_nothing(tmp_path: Path) -> None:
    done = shell(tmp_path, "pratique list --json 2>&- <&-")
    assert done.returncode == 0
    assert '"admitted": []' in done.stdout
    for end in ("2>&-", "2>/dev/full"):
        assert shell(tmp_path, f"pratique vet nosuch {end}").returncode == 5


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    """The ledger is written while stdout is closed: what is printed must not go into it."""
    assert shell(tmp_path, "pratique admit nosuch >&- 2>&- <&-").returncode == 11
    assert "nosuch" in shell(tmp_path, "pratique log show --kind refusal").stdout
    done = shell(tmp_path, "pratique log verify")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("intact")


def test_a_huge_argument_is_not_repeated_in_full(tmp_path: Path) -> None:
    done = shell(tmp_path, "pratique diff $(printf 'a%.0s' {1..50000}) b")
    assert done.returncode in {2, 5, 7}
    assert len(done.stderr) < 9000


def test_every_refusal_has_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for line, code in (
        ("generate sample", 2), ("revoke --key zz --reason x", 5), ("approve FILE --key x", 5),
        ("log show --kind nosuch", 2),
    ):  # fmt: skip
        done = shell(tmp_path, f"pratique {line.replace('FILE', str(tmp_path / 'file'))}")
        assert done.returncode == code, done.stderr
        assert [row.split(":")[0].strip() for row in done.stderr.splitlines()] == [
            "refused",
            "hint",
        ]


def test_an_empty_password_file_is_no_bug(tmp_path: Path) -> None:
    from pratique.attest.keys import generate_key, load_signer
    from pratique.cli.key_password import password_prompt
    from pratique.errors import SealError

    generate_key(tmp_path / "k", "p256", b"secret")
    empty = tmp_path / "empty"
    empty.write_bytes(b"\n")
    key = tmp_path / "k.key"
    with pytest.raises(SealError, match="is empty"):
        load_signer(key, password_prompt(key, empty))
