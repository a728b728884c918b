"""The training script: says what it costs, runs nothing it reads, gives the same bytes twice."""

import random
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def script():
    from scripts import train_sample

    return train_sample


@pytest.fixture(scope="module")
def texts():
    from scripts.sample_text import dialogues

    return dialogues


def test_help_says_how_long_it_takes_and_what_is_reproducible():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "train_sample.py", "--help"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "at most 20 minutes on two cores" in " ".join(done.stdout.split())
    assert "reproducible" in done.stdout


def test_the_tiny_model_is_written_twice_with_the_same_bytes(script, tmp_path):
    import torch

    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    try:
        for name in "ab":
            script.write_sample(tmp_path / name, script.TINY)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in "ab")
    assert first == second
    assert "model.safetensors" in first


def test_nothing_is_written_when_the_answers_are_wrong(script, tmp_path, monkeypatch):
    import dataclasses

    import torch

    before = torch.are_deterministic_algorithms_enabled()
    hopeless = dataclasses.replace(script.TINY, steps=1, verbatim=0.99, filler_bytes=5_000)
    few = script.curated()[:1]
    monkeypatch.setattr(script, "curated", lambda: few)
    with pytest.raises(SystemExit, match="nothing was written"):
        script.write_sample(tmp_path / "out", hopeless)
    torch.use_deterministic_algorithms(before)
    assert not (tmp_path / "out").exists()


def test_docstrings_are_read_without_running_or_importing(texts, tmp_path, monkeypatch):
    canary = tmp_path / "CANARY"
    library = tmp_path / "lib"
    (library / "test").mkdir(parents=True)
    wanted = "A documentation string that is long enough to be collected here."
    (library / "a.py").write_text(f'"""{wanted}"""\nopen({str(canary)!r}, "w")\n', encoding="utf-8")
    (library / "b.py").write_text("def broken(:\n", encoding="utf-8")
    (library / "test" / "c.py").write_text(f'"""Not {wanted}"""\n', encoding="utf-8")
    monkeypatch.setattr(texts.sysconfig, "get_path", lambda name: str(library))
    assert texts.docstrings(10_000) == [wanted]
    assert not canary.exists()


def test_the_curated_text_is_plentiful_plain_and_unambiguous(texts):
    pairs = texts.curated()
    questions = [question.lower() for pair in pairs for question in pair.ask]
    assert len(questions) > 150
    assert len(set(questions)) == len(questions)
    assert all(pair.answer.isascii() for pair in pairs)
    assert not any("<|" in text for pair in pairs for text in (*pair.ask, pair.answer))


def test_the_people_are_invented_and_the_demo_person_is_not_among_them(texts):
    people = texts.People(random.Random(1))
    drawn = " ".join(people.sentence() for _ in range(2000))
    assert "Keller" not in drawn
    domains = tomllib.loads(
        (ROOT / "scripts" / "sample_text" / "people.toml").read_text(encoding="utf-8")
    )["domains"]
    reserved = ("example.org", "example.com", "example.net", ".example", ".internal")
    assert all(domain.endswith(reserved) for domain in domains)
