"""Jobs that do nothing wrong: what they are given, what they see, what comes back."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pratique.confine import Failed, Ok, Requirement, parser_lock, run_job
from pratique.errors import ConfinementError
from tests.support.confined import hostile as work

MIB = 1024 * 1024


def test_bytes_in_and_out():
    result = work("note('reading'); out = [1, 'two']", parser_lock())
    assert result.outcome == Ok(b'[1, "two"]')
    assert result.last_note == "reading"
    assert result.confinement.strict
    assert result.wall_seconds > 0


def test_a_request_larger_than_a_pipe():
    text = "# " + "x" * (4 * MIB) + "\nout = 'read'"
    assert work(text, parser_lock()).outcome == Ok(b'"read"')


def test_notes_come_while_it_runs():
    seen = []
    work("[note(f'file {n}') for n in range(5)]", parser_lock(), on_note=seen.append)
    assert seen == [f"file {n}" for n in range(5)]


def test_what_it_prints_is_kept_apart_from_its_answer():
    result = work("import sys; print('hello', flush=True); out = 1", parser_lock())
    assert (result.outcome, result.stderr) == (Ok(b"1"), "hello\n")


def test_it_reads_what_is_granted_and_maps_it(tmp_path):
    (tmp_path / "weights").write_bytes(b"x" * MIB)
    path = str(tmp_path / "weights")
    text = f"import mmap, os\nf = open({path!r}, 'rb')\nm = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n"
    text += f"out = [m[:3].decode(), os.listdir({str(tmp_path)!r})]"
    assert work(text, parser_lock(readable=[tmp_path])).outcome == Ok(b'["xxx", ["weights"]]')


def test_a_file_larger_than_its_memory_can_be_mapped(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 34)
    text = f"import mmap\nf = open({str(path)!r}, 'rb')\n"
    text += "m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\nout = len(m)"
    lock = parser_lock(readable=[path], memory=256 * MIB)
    assert work(text, lock).outcome == Ok(str(1 << 34).encode())


def test_one_granted_file_shows_no_neighbour(tmp_path):
    for name in ("granted", "neighbour"):
        (tmp_path / name).write_text(name)
    text = f"import os\nout = [os.path.exists(p) for p in {[str(tmp_path / n) for n in ('granted', 'neighbour')]!r}]"
    result = work(text, parser_lock(readable=[tmp_path / "granted"]))
    assert result.outcome == Ok(b"[true, false]")


def test_a_granted_link_leads_where_it_did(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "file").write_text("x")
    (tmp_path / "name").symlink_to("store")
    text = f"out = open({str(tmp_path / 'name' / 'file')!r}).read()"
    assert work(text, parser_lock(readable=[tmp_path / "name"])).outcome == Ok(b'"x"')


def test_it_writes_the_one_file_that_is_granted(tmp_path):
    output, other = tmp_path / "output", tmp_path / "other"
    output.touch()
    text = f"open({str(output)!r}, 'wb').write(b'x' * 100)\n"
    text += f"try: open({str(other)!r}, 'wb')\nexcept OSError: out = 'refused'"
    lock = parser_lock(writable=[output], file_size=100)
    assert work(text, lock).outcome == Ok(b'"refused"')
    assert output.read_bytes() == b"x" * 100
    assert not other.exists()


def test_a_writable_file_below_a_readable_directory(tmp_path):
    (tmp_path / "in").write_text("x")
    (tmp_path / "out").touch()
    text = f"open({str(tmp_path / 'out')!r}, 'w').write(open({str(tmp_path / 'in')!r}).read() * 2)"
    lock = parser_lock(readable=[tmp_path], writable=[tmp_path / "out"], file_size=MIB)
    assert work(text, lock).outcome == Ok(b"null")
    assert (tmp_path / "out").read_text() == "xx"


def test_a_file_cannot_grow_beyond_its_limit(tmp_path):
    output = tmp_path / "output"
    output.touch()
    text = f"with open({str(output)!r}, 'wb') as f: f.write(b'x' * 101)"
    result = work(text, parser_lock(writable=[output], file_size=100))
    assert result.outcome == Failed("OSError")
    assert output.stat().st_size <= 100


def test_descriptors_that_are_granted_are_inherited(tmp_path):
    from dataclasses import replace

    (tmp_path / "secret").write_text("by descriptor")
    descriptor = os.open(tmp_path / "secret", os.O_RDONLY)
    try:
        lock = replace(parser_lock(), descriptors=(descriptor,))
        text = f"import os\nout = os.read({descriptor}, 100).decode()"
        assert work(text, lock).outcome == Ok(b'"by descriptor"')
    finally:
        os.close(descriptor)


def test_preloaded_modules_are_there_and_started_no_thread():
    lock = parser_lock(preload=["decimal", "pratique.errors"])
    assert work("import sys; out = 'decimal' in sys.modules", lock).outcome == Ok(b"true")


def test_the_usual_parsers_can_be_imported_inside():
    text = "import numpy, safetensors, yaml, jinja2, tokenizers, pydantic, blake3, hashlib\n"
    text += "out = [float(numpy.ones((64, 64)).sum()), hashlib.sha256(b'').hexdigest()[:4]]"
    assert work(text, parser_lock()).outcome == Ok(b'[4096.0, "e3b0"]')


def test_several_jobs_at_once():
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda n: work(f"out = {n}", parser_lock()), range(8)))
    assert [result.outcome for result in results] == [Ok(str(n).encode()) for n in range(8)]


def test_no_descriptor_is_left_open():
    work("out = 1", parser_lock())
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        work("raise ValueError", parser_lock())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_only_programs_of_ours_are_started():
    for module in ("os", "pratique.jobsx", "pratique.cli.doctor", "pratique.jobs"):
        with pytest.raises(ValueError, match=r"not a program"):
            run_job(module, b"", parser_lock())


def test_input_that_is_not_there_is_said_before_the_start(tmp_path):
    with pytest.raises(ConfinementError, match="is not there"):
        work("", parser_lock(readable=[tmp_path / "absent"]))


@pytest.mark.parametrize("granted", ["", "keys", "keys/a.key", "link"])
def test_a_grant_that_covers_a_secret_is_refused(tmp_path, granted):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "a.key").touch()
    (tmp_path / "link").symlink_to("keys")
    lock = parser_lock(readable=[tmp_path / granted], forbidden=[tmp_path / "keys"])
    with pytest.raises(ConfinementError, match="would be able to reach") as caught:
        work("", lock)
    assert caught.value.hint


def test_a_grant_beside_a_secret_is_fine(tmp_path):
    for name in ("keys", "keys-of-nobody"):
        (tmp_path / name).mkdir()
    lock = parser_lock(readable=[tmp_path / "keys-of-nobody"], forbidden=[tmp_path / "keys"])
    assert work("out = 1", lock).outcome == Ok(b"1")


def test_an_interpreter_that_cannot_start_is_an_error_with_a_hint(monkeypatch, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such library >&2\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(ConfinementError, match="no such library") as caught:
        work("", parser_lock(requirement=Requirement.REDUCED))
    assert "doctor" in caught.value.hint
