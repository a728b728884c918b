"""A fetch that was cut, in every way, goes on where it stopped."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pratique.core.findings import Disposition
from pratique.core.stages import Stage
from pratique.errors import FetchError
from pratique.fetch.gating import GateRefused, GateWantsApproval
from pratique.flows.loopback_hub import FilePart, Reply, Request
from tests.support.hub.world import (
    MODEL,
    REPO,
    WEIGHTS,
    StubGate,
    World,
    content,
    cut_after,
    flip_last_byte,
    on,
    with_status,
)

NAME = "model.safetensors"
ROOT = Path(__file__).resolve().parents[2]
BIG = WEIGHTS + random.Random(7).randbytes(24 << 20)
BLOCK = 64 << 10

CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from pratique.fetch.hub import HubFetch
from pratique.fetch.pinning import HubRequest
from pratique.fetch.session import hub_session
from pratique.fetch.urls import Endpoint
from tests.support.hub.world import REPO, StubGate, policy
with hub_session(Endpoint.parse(sys.argv[1])) as session:
    print(HubFetch(session, Path(sys.argv[2]), policy(), StubGate()).run(HubRequest(REPO)).label)
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def downloads(world: World, name: str = NAME) -> list[str]:
    """Ranges asked for in downloads of the file; the head's own request is left out."""
    ranges = [r.headers.get("range", "") for r in world.asked("resolve") if r.path.endswith(name)]
    head = f"bytes=0-{min(64 << 10, len(WEIGHTS)) - 1}"
    return [r for r in ranges if r != head]


def only_whole(lie):
    """Leave the request for the head alone."""
    return lambda q, r: r if q.headers.get("range", "").startswith("bytes=0-") else lie(q, r)


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 65_535, 65_536, len(WEIGHTS) - 1])
def test_a_cut_connection_goes_on_at_the_exact_byte(world: World, cut: int) -> None:
    world.lies = [only_whole(on(NAME, cut_after(cut), times=1))]
    snapshot = world.fetch()
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS
    after = f"bytes={cut}-{len(WEIGHTS) - 1}" if cut else ""
    assert downloads(world) == ["", after]


def test_a_server_that_ignores_ranges_is_read_from_the_start(world: World) -> None:
    whole = Reply(200, {}, WEIGHTS)
    world.lies = [
        only_whole(on(NAME, cut_after(100_000), times=1)),
        lambda q, r: whole if q.headers.get("range", "").startswith("bytes=100000-") else r,
    ]
    snapshot = world.fetch()
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS


def test_a_later_fetch_takes_up_what_an_earlier_one_left(world: World) -> None:
    world.lies = [only_whole(on(NAME, cut_after(300_000)))]
    world.lies.append(
        lambda q, r: (
            replace(r, body=iter(()), length=r.announced)
            if q.headers.get("range", "").startswith("bytes=300000")
            else r
        )
    )
    with pytest.raises(FetchError, match=NAME):
        world.fetch()
    world.lies, world.requests = [], []
    snapshot = world.fetch()
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS
    assert downloads(world) == [f"bytes=300000-{len(WEIGHTS) - 1}"]
    assert not world.asked("config.json"), "what was whole is not fetched again"


def test_what_lies_in_a_part_file_is_not_believed(world: World) -> None:
    """A part with wrong bytes (a disk error, a stranger) ends in a fresh download, not in trust."""
    world.lies = [only_whole(on(NAME, with_status(404)))]
    with pytest.raises(FetchError):
        world.fetch()
    (part,) = world.home.rglob("*.part")
    part.write_bytes(b"x" * 1000)
    world.lies = []
    assert (world.fetch().model_dir / NAME).read_bytes() == WEIGHTS


def test_a_part_longer_than_the_file_is_thrown_away(world: World) -> None:
    world.lies = [only_whole(on(NAME, with_status(404)))]
    with pytest.raises(FetchError):
        world.fetch()
    (part,) = world.home.rglob("*.part")
    part.write_bytes(WEIGHTS + b"x")
    world.lies = []
    assert (world.fetch().model_dir / NAME).read_bytes() == WEIGHTS


def test_a_changed_file_of_an_earlier_run_is_fetched_again(world: World) -> None:
    world.lies = [only_whole(on(NAME, with_status(404)))]
    with pytest.raises(FetchError):
        world.fetch()
    (config,) = world.home.rglob("config.json")
    config.write_bytes(b"{} ")
    world.lies = []
    assert (world.fetch().model_dir / "config.json").read_bytes() == MODEL["config.json"]


def test_files_of_another_selection_do_not_stay(world: World) -> None:
    world.lies = [only_whole(on(NAME, with_status(404)))]
    with pytest.raises(FetchError):
        world.fetch()
    world.lies = []
    from pratique.fetch.pinning import HubRequest

    snapshot = world.fetch(HubRequest(REPO, without=("docs/*",)))
    assert {f.path for f in snapshot.manifest} == set(MODEL) - {"docs/notes.md"}
    assert not (snapshot.model_dir / "docs/notes.md").exists()


def test_a_whole_snapshot_is_checked_and_not_fetched_again(world: World) -> None:
    first = world.fetch()
    world.requests.clear()
    assert world.fetch().manifest == first.manifest
    assert not world.asked("resolve")


def test_one_failure_stops_the_others(world: World) -> None:
    world.lies = [on("docs/notes.md", flip_last_byte)]
    with pytest.raises(FetchError, match="notes"):
        world.fetch()
    assert not downloads(world), "weights were not begun"


# --- kill -9 -------------------------------------------------------------------------------------


class Slow:
    """Sends the weights in blocks, and says when so many of them have gone out."""

    def __init__(self, kill_at: int, name: str = NAME) -> None:
        self.kill_at = kill_at
        self.name = name
        self.sent = 0
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, request: Request, reply: Reply) -> Reply:
        is_head = request.headers.get("range", "").startswith("bytes=0-")
        if not request.path.endswith(self.name) or is_head:
            return reply
        body = content(reply)

        def blocks() -> Iterator[bytes]:
            for at in range(0, len(body), BLOCK):
                if at >= self.kill_at:
                    self.reached.set()
                    self.go_on.wait(30)
                    return
                self.sent = min(len(body), at + BLOCK)
                yield body[at : at + BLOCK]

        return replace(reply, body=blocks(), length=len(body))


def start(url: str, home: Path) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", CHILD, url, str(home), str(ROOT)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_kill_9_at_random_points_loses_at_most_the_block_in_flight(tmp_path: Path) -> None:
    """Killed ten times; what was sent twice is what was under way when the child died."""
    world = World(tmp_path, {**MODEL, NAME: BIG})
    draw = random.Random(20)
    have = sent = kills = 0
    with world.hub.running(world.respond) as url:
        while kills < 10:
            slow = Slow(kill_at=draw.randrange(1, (len(BIG) - have) // 6))
            world.lies = [slow]
            child = start(url, world.home)
            assert slow.reached.wait(60)
            part = _wait_for_bytes(world, have + slow.sent - BLOCK)
            os.kill(child.pid, signal.SIGKILL)
            child.communicate()
            slow.go_on.set()
            kills += 1
            sent += slow.sent
            kept = part.stat().st_size
            assert kept >= have + slow.sent - BLOCK
            assert part.read_bytes() == BIG[:kept]
            assert world.finals == []
            have = kept
        world.lies = []
        world.requests.clear()
        child = start(url, world.home)
        out, err = child.communicate(timeout=120)
        assert child.returncode == 0, err
    assert downloads(world) == [f"bytes={have}-{len(BIG) - 1}"]
    assert sent + len(BIG) - have <= len(BIG) + kills * BLOCK
    (final,) = world.finals
    assert (final / "model" / NAME).read_bytes() == BIG
    assert out.strip() == f"name@{world.commit[:8]}"


def test_kill_9_amid_several_files_loses_none_of_them(tmp_path: Path) -> None:
    """Whole files stay whole, parts go on: nothing is asked for from its start again."""
    names = [f"shard-{i}.safetensors" for i in range(4)]
    body = {name: WEIGHTS + random.Random(name).randbytes(1 << 20) for name in names}
    world = World(tmp_path, {**MODEL, **body})
    slow = {
        name: Slow(kill_at=at, name=name)
        for name, at in zip(names, (0, 1, 300_000, 900_000), strict=True)
    }
    world.lies = list(slow.values())
    with world.hub.running(world.respond) as url:
        child = start(url, world.home)
        for one in slow.values():
            assert one.reached.wait(60)
        for name, one in slow.items():
            _wait_for_bytes(world, one.sent, digest=hashlib.sha256(body[name]).hexdigest())
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        for one in slow.values():
            one.go_on.set()
        world.lies = []
        world.requests.clear()
        child = start(url, world.home)
        _, err = child.communicate(timeout=120)
        assert child.returncode == 0, err
    for name, one in slow.items():
        begun = f"bytes={one.sent}-{len(body[name]) - 1}" if one.sent else ""
        assert downloads(world, name) == [begun]
    # The other file was whole by then, or it goes on as well.
    assert all(begun and not begun.startswith("bytes=0-") for begun in downloads(world))
    (final,) = world.finals
    for name in names:
        assert (final / "model" / name).read_bytes() == body[name]


def _wait_for_bytes(world: World, count: int, digest: str = "*") -> Path:
    """Poll until the child has written what was sent; the server holds the next block back."""
    for _ in range(3000):
        for part in world.home.rglob(f"{digest}.part"):
            if part.stat().st_size >= count:
                return part
        threading.Event().wait(0.01)
    raise AssertionError("the child did not write")


# --- staged --------------------------------------------------------------------------------------

STAGES = [Stage.LISTING, Stage.CODE_AND_CONFIG, Stage.HEADERS, Stage.TOKENIZER, Stage.CONTENT]


def test_the_gate_is_asked_at_every_stage_with_what_is_there(world: World) -> None:
    world.fetch()
    assert world.gate.stages == STAGES
    here = {stage: files for stage, _, files in world.gate.seen}
    assert here[Stage.LISTING] == frozenset()
    assert here[Stage.CODE_AND_CONFIG] == {"config.json", "README.md", "docs/notes.md"}
    assert here[Stage.TOKENIZER] == here[Stage.HEADERS] | {"tokenizer.json"}
    assert here[Stage.CONTENT] == set(MODEL)
    for _, candidate, _ in world.gate.seen:
        assert candidate.repo == REPO
        assert candidate.commit == world.commit
        assert {"config.json", NAME} <= {entry.path for entry in candidate.listing or ()}
        assert candidate.hub["license"] == "mit"


def test_heads_are_there_before_weights(world: World) -> None:
    seen: dict[str, bytes] = {}

    class Gate(StubGate):
        def judge(self, candidate, stage):
            if stage is Stage.HEADERS:
                for path in candidate.heads.rglob("*"):
                    if path.is_file():
                        seen[path.name] = path.read_bytes()
            return super().judge(candidate, stage)

    world.gate = Gate()
    world.fetch()
    assert seen[NAME] == WEIGHTS[: 64 << 10]


def test_a_long_safetensors_header_comes_whole(tmp_path: Path) -> None:
    header = b"{" + b" " * 200_000 + b"}"
    weights = len(header).to_bytes(8, "little") + header + bytes(300_000)
    world = World(tmp_path, {**MODEL, NAME: weights})
    world.gate.at = Stage.HEADERS
    with pytest.raises(GateRefused):
        world.fetch()
    ranges = [r.headers["range"] for r in world.asked(NAME)]
    assert ranges == ["bytes=0-65535", f"bytes=65536-{len(header) + 7}"]


@pytest.mark.parametrize("length", [1 << 63, 100_000_001, len(WEIGHTS)])
def test_a_header_that_cannot_be_one_is_not_paid_for(tmp_path: Path, length: int) -> None:
    world = World(tmp_path, {**MODEL, NAME: length.to_bytes(8, "little") + WEIGHTS[8:]})
    world.gate.at = Stage.HEADERS
    with pytest.raises(GateRefused):
        world.fetch()
    assert [r.headers["range"] for r in world.asked(NAME)] == ["bytes=0-65535"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_refusal_ends_it_at_its_stage(world: World, stage: Stage) -> None:
    world.gate.at = stage
    with pytest.raises(GateRefused) as caught:
        world.fetch()
    assert caught.value.exit_code == 10
    assert caught.value.verdict.findings[0].check == "stub"
    assert world.gate.stages == STAGES[: STAGES.index(stage) + 1]
    assert world.finals == []
    if stage < Stage.CONTENT:
        assert not downloads(world)
        assert not list(world.home.rglob("*.json")), "nothing of it is kept"


@pytest.mark.parametrize("stage", [Stage.LISTING, Stage.CODE_AND_CONFIG])
def test_a_refused_repository_costs_less_than_a_megabyte(tmp_path: Path, stage: Stage) -> None:
    many = {f"configs/{i:03}.json": b"{}" + b" " * 20_000 for i in range(100)}
    world = World(tmp_path, {**MODEL, **many, NAME: BIG})
    world.gate.at = stage
    with pytest.raises(GateRefused):
        world.fetch()
    assert world.sent < 1_000_000


@pytest.mark.parametrize("stage", [Stage.LISTING, Stage.CODE_AND_CONFIG, Stage.HEADERS])
def test_a_wish_for_approval_comes_with_all_that_is_cheap(world: World, stage: Stage) -> None:
    """Only a stage that goes on wanting it counts; nothing after the heads is downloaded."""

    class Gate(StubGate):
        def judge(self, candidate, asked):
            self.at = asked if asked >= stage else None
            return super().judge(candidate, asked)

    world.gate = Gate(disposition=Disposition.APPROVE)
    with pytest.raises(GateWantsApproval) as caught:
        world.fetch()
    assert caught.value.exit_code == 13
    assert world.gate.stages == STAGES[:3]
    assert not downloads(world)
    assert not world.asked("tokenizer.json")
    assert (caught.value.kept / "config.json").read_bytes() == MODEL["config.json"]


def test_equal_content_is_fetched_once_per_path_and_both_are_right(tmp_path: Path) -> None:
    world = World(tmp_path, {**MODEL, "copy.safetensors": WEIGHTS})
    snapshot = world.fetch()
    assert (snapshot.model_dir / "copy.safetensors").read_bytes() == WEIGHTS
    assert (snapshot.model_dir / NAME).read_bytes() == WEIGHTS


def test_empty_files_arrive(tmp_path: Path) -> None:
    world = World(tmp_path, {**MODEL, "pkg/__init__.py": b""})
    assert (world.fetch().model_dir / "pkg/__init__.py").read_bytes() == b""


def test_a_file_is_served_from_disk_in_parts(world: World) -> None:
    """The simulator's own Range arithmetic, since every test above leans on it."""
    reply = world.hub.respond(
        Request("GET", f"/{REPO}/resolve/main/{NAME}", {}, {"range": "bytes=10-19"})
    )
    assert reply.status == 206
    assert isinstance(reply.body, FilePart)
    assert content(reply) == WEIGHTS[10:20]
