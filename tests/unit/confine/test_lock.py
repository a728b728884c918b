import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.confine import Lock, Profile, Requirement, model_lock, parser_lock
from pratique.confine.lock import OFFLINE_ENVIRONMENT

paths = st.lists(st.text(st.characters(exclude_characters="\0"), max_size=20)).map(
    lambda names: tuple("/" + name for name in names)
)
locks = st.builds(
    Lock,
    profile=st.just(Profile.MODEL),
    requirement=st.sampled_from(Requirement),
    readable=paths,
    writable=paths,
    forbidden=paths,
    memory=st.none() | st.integers(1, 1 << 40),
    cpu_seconds=st.none() | st.integers(1, 1000),
    wall_seconds=st.none() | st.floats(0.1, 1000),
    scratch=st.integers(0, 1 << 40),
    threads=st.integers(1, 1000),
    environment=st.just((("A", "b"),)),
    descriptors=st.lists(st.integers(3, 100)).map(tuple),
    gpu=st.booleans(),
    preload=st.just(("json",)),
)


@given(locks)
def test_a_lock_survives_the_pipe(lock):
    assert Lock.from_json(json.loads(json.dumps(lock.to_json()))) == lock


@pytest.mark.parametrize("change", [{"readable": ()}, {"unknown": 1}])
def test_another_object_is_no_lock(change):
    value = {**parser_lock().to_json(), **change}
    if "unknown" not in change:
        del value["readable"]
    with pytest.raises(ValueError, match="not a lock"):
        Lock.from_json(value)


@pytest.mark.parametrize(
    "change",
    [
        {"readable": ("relative",)},
        {"writable": ("",)},
        {"forbidden": ("/a\0b",)},
        {"open_files": 0},
        {"threads": 0},
        {"scratch": -1},
        {"file_size": -1},
        {"gpu": True},
        {"environment": (("PYTHONPATH", "/tmp"),)},
        {"environment": (("LD_PRELOAD", "/tmp/x.so"),)},
        *({"environment": ((name, "0"),)} for name in OFFLINE_ENVIRONMENT),
    ],
)
def test_what_would_open_a_lock_is_refused(change):
    with pytest.raises(ValueError, match=r"."):
        Lock(profile=Profile.PARSER, **change)


def test_a_parser_gets_nothing_that_was_not_granted():
    lock = parser_lock(readable=["/data"])
    assert (lock.readable, lock.writable, lock.scratch, lock.threads) == (("/data",), (), 0, 1)
    assert lock.requirement is Requirement.STRICT
    assert not lock.gpu
    assert lock.wall_seconds is not None
    assert lock.memory is not None


def test_a_model_may_have_threads_a_home_and_a_gpu():
    lock = model_lock(gpu=True, environment={"OMP_NUM_THREADS": "2"})
    assert lock.threads > 1
    assert lock.scratch == lock.file_size > 0
    assert lock.gpu
    assert lock.requirement is Requirement.STRICT


def test_relative_paths_are_taken_from_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert parser_lock(readable=[Path("model")]).readable == (str(tmp_path / "model"),)
