"""`pratique log` at the terminal: what it prints and how it ends."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pratique.cli.main import run
from pratique.ledger import offline_verifier
from pratique.ledger.events import Refusal
from pratique.ledger.folder import Folder
from pratique.ledger.home import open_ledger
from tests.support.ledgers import request


@pytest.fixture
def home(tmp_path):
    with open_ledger(tmp_path) as log:
        for number in range(5):
            log.append(request(number))
        log.append(Refusal(verb="vet", subject="a\nb\x1b[2J", code=10, reason="no", by="uid:0"))
    return tmp_path


def log(home, *arguments):
    return run(["--home", str(home), "log", *map(str, arguments)])


def edit(home):
    path = Folder(home / "ledger").segments()[0].path
    path.write_bytes(path.read_bytes().replace(b"req-2", b"req-X"))


def test_verify_says_intact(home, capsys):
    assert log(home, "verify") == 0
    out, err = capsys.readouterr()
    assert out == "intact: 6 events, all sealed\n"
    assert "one kept elsewhere" in err


def test_verify_against_copies_in_a_directory_and_on_paper(home, tmp_path, capsys):
    copies = tmp_path / "copies"
    assert log(home, "checkpoint", "--to", copies, "--paper") == 0
    (copies / "typed").write_text(capsys.readouterr().out, encoding="utf-8")
    assert log(home, "verify", "--checkpoint", copies, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "pratique.log.verify/v1"
    assert (report["state"], report["events"], report["checkpoints_elsewhere"]) == ("intact", 6, 1)


def test_verify_refuses_with_fifteen(home, capsys):
    edit(home)
    assert log(home, "verify") == 15
    out, err = capsys.readouterr()
    assert out.startswith("edited at 2")
    assert "refused: edited at 2" in err
    assert "hint:" in err
    assert log(home, "verify", "--json") == 15
    assert json.loads(capsys.readouterr().out)["state"] == "edited"


def test_verify_with_the_wrong_key_or_a_slip(home, tmp_path, capsys):
    with open_ledger(tmp_path / "other"):
        pass
    other = Folder(tmp_path / "other" / "ledger").key().vkey()
    assert log(home, "verify", "--key", other) == 15
    (tmp_path / "typed").write_text("beef | pratique\n", encoding="utf-8")
    assert log(home, "verify", "--checkpoint", tmp_path / "typed") == 5
    assert "line 1 of the printed checkpoint has a slip" in capsys.readouterr().err


def test_no_log_is_said(tmp_path, capsys):
    for words in (["verify"], ["show"], ["export"], ["checkpoint"], ["prove", 0]):
        assert log(tmp_path / words[0], *words) == 5
        assert "there is no ledger" in capsys.readouterr().err


def test_show_prints_one_safe_line_per_event(home, capsys):
    assert log(home, "show") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all(line.isprintable() for line in lines)
    assert "request=req-0" in lines[0]


def test_show_selects(home, capsys):
    assert log(home, "show", "--last", 2, "--kind", "request") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["3", "4"]
    assert log(home, "show", "--from", 5, "--json") == 0
    (event,) = capsys.readouterr().out.splitlines()
    assert json.loads(event)["unmapped"]["kind"] == "refusal"


def test_show_stops_at_an_edit(home, capsys):
    edit(home)
    assert log(home, "show") == 15
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_export_is_ascii_json_lines(home, tmp_path, capsys):
    target = tmp_path / "events.jsonl"
    assert log(home, "export", "-o", target) == 0
    assert capsys.readouterr().out == f"{target}\n"
    events = [json.loads(line) for line in target.read_text(encoding="ascii").splitlines()]
    assert [event["metadata"]["sequence"] for event in events] == list(range(6))
    assert log(home, "export", "--from", 5) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert log(home, "export", "-o", tmp_path / "absent" / "x") == 7


def test_prove_is_checked_by_the_file_alone(home, tmp_path, capsys):
    target = tmp_path / "proof.json"
    assert log(home, "prove", 3, "-o", target) == 0
    capsys.readouterr()
    assert log(home, "checkpoint", "--key") == 0
    key = capsys.readouterr().out.strip()
    done = subprocess.run(
        [sys.executable, "-I", Path(offline_verifier.__file__), target, "--key", key],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("proved: event 3 of 6")
    assert log(home, "prove", 3) == 0
    assert json.loads(capsys.readouterr().out)["number"] == 3
    assert log(home, "prove", 6) == 2


def test_checkpoint_seals_what_came_after(home, capsys):
    writer = open_ledger(home)
    writer.append(request(9))
    assert log(home, "checkpoint", "--as-it-is") == 0
    assert capsys.readouterr().out.split("\n")[1] == "6"
    assert log(home, "checkpoint") == 0
    assert capsys.readouterr().out.split("\n")[1] == "7"
    writer.close()


def test_help_has_an_example_for_each_verb(capsys):
    for verb in ("verify", "show", "prove", "checkpoint", "export"):
        assert log(Path("/nowhere"), verb, "--help") == 0
        assert f"Example:  pratique log {verb}" in capsys.readouterr().out


def test_a_log_that_was_thrown_away_is_missed(home, capsys):
    shutil.rmtree(home / "ledger")
    assert log(home, "verify") == 15
    assert "its key has signed" in capsys.readouterr().err


def test_a_cut_that_took_the_checkpoints_along_is_found_by_the_signers_memory(home, capsys):
    segment = next((home / "ledger" / "segments").glob("*.jsonl"))
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:1]))
    for path in (home / "ledger" / "checkpoints").iterdir():
        if int(path.name) > 1:
            path.unlink()
    assert log(home, "verify") == 15
    assert "truncated after 1" in capsys.readouterr().out
