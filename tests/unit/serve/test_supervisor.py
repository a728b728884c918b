"""Workers that die, lie and disappear: what the supervisor makes of it. Each is a real process."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine

import pytest

from pratique.core.rungs import Rung
from pratique.core.wire import Failed, TokenIds, Tokenize
from pratique.errors import ServeError
from pratique.fit import Machine
from pratique.serve import supervisor as supervisor_module
from pratique.serve.supervisor import State, Supervisor
from pratique.serve.worker_link import WorkerGone, only
from tests.support import models
from tests.support.serving import (
    FAKE_WORKER,
    GIB,
    Notes,
    OpenLauncher,
    limits_for,
    model_of,
    plan_for,
)

FAKE = FAKE_WORKER
GOOD = FAKE_WORKER


def code(on_load: str = "nothing", on_message: str = "answer") -> str:
    return f"{FAKE}\ndef main(channel): serve(channel, {on_load}, {on_message})"


@pytest.fixture
def make(tmp_path, monkeypatch) -> Callable[..., Supervisor]:
    monkeypatch.setattr(supervisor_module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(supervisor_module, "_LONGEST_PAUSE", 0.002)
    directory = models.write_llama(tmp_path / "tiny")

    def of(
        script: str, notes: Notes | None = None, *, gpu: bool = False, packs: bool = False
    ) -> Supervisor:
        limits = limits_for()
        machine = Machine(8 * GIB, 8 * GIB, "MemAvailable", 1, packs=packs)
        planned = plan_for(directory, limits, machine)
        if gpu:  # on a GPU every rung is usable, so that there is something to fall to
            from pratique.fit import Gpu

            machine = Machine(8 * GIB, 8 * GIB, "x", 1, (Gpu(0, 8 * GIB, 8 * GIB),))
            planned = plan_for(directory, limits, machine)
        launcher = OpenLauncher(script)
        made = Supervisor(model_of(directory), planned, launcher, notes or Notes(), limits=limits)
        made.launcher = launcher  # type: ignore[attr-defined]
        return made

    return of


def run(story: Coroutine[object, object, None]) -> None:
    """Run a story; one that hangs is a failure, not a wait."""
    asyncio.run(asyncio.wait_for(story, 60))


async def ask(supervisor: Supervisor) -> object:
    return await only(await supervisor.ask(Tokenize(id=0, text="x")))


def test_a_worker_that_is_killed_by_memory_while_loading_costs_one_rung(make):
    script = code(
        """lambda spec: os.kill(os.getpid(), 9) if spec.rung in ("auto", "device_map") else None"""
    )

    async def story() -> None:
        notes = Notes()
        supervisor = make(script, notes, gpu=True)
        await supervisor.start()
        assert supervisor.report.rung is Rung.INT8
        assert isinstance(await ask(supervisor), TokenIds)
        assert [name for name, _ in notes.events] == ["lost", "lost", "loaded"]
        await supervisor.stop()
        assert supervisor.state is State.STOPPED

    run(story())


def test_packed_matrices_go_before_the_rung_does(make):
    script = code("lambda spec: os.kill(os.getpid(), 9) if spec.packed else None")

    async def story() -> None:
        notes = Notes()
        supervisor = make(script, notes, packs=True)
        assert supervisor.plan.chosen.packed
        await supervisor.start()
        assert supervisor.report.rung is Rung.AUTO
        assert not supervisor.report.packed
        assert isinstance(await ask(supervisor), TokenIds)
        assert [name for name, _ in notes.events] == ["lost", "loaded"]
        assert "without packed matrices" in notes.events[0][1][1]
        await supervisor.stop()

    run(story())


def test_a_worker_that_keeps_dying_of_anything_is_tried_without_packed_matrices(make):
    script = f"""{FAKE}
def main(channel):
    packed = []
    serve(
        channel,
        lambda spec: packed.append(spec.packed),
        lambda *asked: os._exit(1) if packed == [True] else answer(*asked),
    )"""

    async def story() -> None:
        notes = Notes()
        supervisor = make(script, notes, packs=True)
        await supervisor.start()
        running = asyncio.create_task(supervisor.run())
        for _ in range(2):
            await notes.loads.get()
            assert supervisor.report.packed
            with pytest.raises(WorkerGone):
                await ask(supervisor)
        await notes.loads.get()
        assert isinstance(await ask(supervisor), TokenIds)
        assert (supervisor.report.rung, supervisor.report.packed) == (Rung.AUTO, False)
        lost = [event[1][1] for event in notes.events if event[0] == "lost"]
        assert len(lost) == 1
        assert lost[0].endswith("2 times; next without packed matrices")
        await supervisor.stop()
        await running

    run(story())


def test_it_never_loops_without_packed_matrices_either(make):
    async def story() -> None:
        supervisor = make(code("lambda spec: os._exit(77)"), packs=True)
        with pytest.raises(ServeError, match="cannot be loaded here"):
            await supervisor.start()
        assert supervisor.launcher.launched == [Rung.AUTO, Rung.AUTO]

    run(story())


def test_it_never_loops_when_no_rung_is_left(make):
    async def story() -> None:
        supervisor = make(code("lambda spec: os._exit(77)"), gpu=True)
        with pytest.raises(ServeError, match="cannot be loaded here") as caught:
            await supervisor.start()
        assert "auto" in caught.value.message
        assert supervisor.launcher.launched == [
            Rung.AUTO, Rung.DEVICE_MAP, Rung.INT8, Rung.NF4,
        ]  # fmt: skip

    run(story())


def test_a_fault_that_no_rung_heals_ends_at_once(make):
    script = (
        FAKE
        + """
def main(channel):
    channel.recv(65536)
    channel.sendall(encode(LoadFailed(fault=LoadFault.FILE_CHANGED)))
"""
    )

    async def story() -> None:
        supervisor = make(script, gpu=True)
        with pytest.raises(ServeError, match="not what was admitted"):
            await supervisor.start()
        assert supervisor.launcher.launched == [Rung.AUTO]

    run(story())


def test_a_crash_after_start_fails_who_waits_and_starts_again(make):
    script = code(on_message="lambda c, m: os._exit(1) if m.text == 'die' else answer(c, m)")

    async def story() -> None:
        notes = Notes()
        supervisor = make(script, notes)
        await supervisor.start()
        running = asyncio.create_task(supervisor.run())
        assert isinstance(await ask(supervisor), TokenIds)
        with pytest.raises(WorkerGone):
            await only(await supervisor.ask(Tokenize(id=0, text="die")))
        assert [await notes.loads.get() for _ in range(2)] == [Rung.AUTO, Rung.AUTO]
        assert isinstance(await ask(supervisor), TokenIds)
        assert [name for name, _ in notes.events] == ["loaded", "restarting", "loaded"]
        await supervisor.stop()
        await running

    run(story())


def test_dying_of_memory_twice_costs_the_rung(make):
    script = code(on_message="lambda c, m: os.kill(os.getpid(), 9)")

    async def story() -> None:
        notes = Notes()
        supervisor = make(script, notes, gpu=True)
        await supervisor.start()
        running = asyncio.create_task(supervisor.run())
        for rung in (Rung.AUTO, Rung.AUTO):
            assert await notes.loads.get() is rung
            with pytest.raises(WorkerGone):
                await ask(supervisor)
        assert await notes.loads.get() is Rung.DEVICE_MAP
        assert supervisor.report.rung is Rung.DEVICE_MAP
        await supervisor.stop()
        await running

    run(story())


def test_workers_that_keep_dying_end_the_serving(make):
    async def story() -> None:
        notes = Notes()
        supervisor = make(GOOD, notes)
        await supervisor.start()
        running = asyncio.create_task(supervisor.run())
        for _ in range(9):  # it gives up after eight crashes without an answer
            await notes.loads.get()
            os.kill(supervisor.pid, signal.SIGSEGV)
        with pytest.raises(ServeError, match="keeps dying"):
            await running
        await supervisor.stop()

    run(story())


@pytest.mark.parametrize(
    "says",
    [
        "c.sendall(b'\\xff\\xff\\xff\\xff')",
        "c.sendall(b'\\0\\0\\0\\2[]')",
        "c.sendall(encode(TokenIds(id=99999, ids=())))",
        "c.sendall(encode(LoadFailed(fault=LoadFault.INTERNAL)))",
        "c.sendall(encode(Stop()))",
    ],
)
def test_a_worker_that_speaks_out_of_turn_is_ended(make, says):
    async def story() -> None:
        notes = Notes()
        supervisor = make(code(on_message=f"lambda c, m: {says}"), notes)
        await supervisor.start()
        running = asyncio.create_task(supervisor.run())
        with pytest.raises(WorkerGone):
            await ask(supervisor)
        assert [await notes.loads.get() for _ in range(2)] == [Rung.AUTO, Rung.AUTO]
        await supervisor.stop()
        await running

    run(story())


def test_files_that_change_under_the_model_end_the_serving(make):
    async def story() -> None:
        supervisor = make(
            code(on_message="lambda c, m: (c.sendall(encode(Spoiled())), os._exit(4))")
        )
        await supervisor.start()
        running = asyncio.create_task(supervisor.run())
        with pytest.raises(WorkerGone):
            await ask(supervisor)
        with pytest.raises(ServeError, match="written to while it was served"):
            await running
        await supervisor.stop()

    run(story())


def test_leaving_early_tells_the_worker_to_forget(make):
    script = (
        FAKE
        + """
def main(channel):
    frames, seen = Frames(), []
    while data := channel.recv(65536):
        for body in frames.feed(data):
            m = parse_to_worker(body)
            if m.op == "load":
                channel.sendall(encode(Loaded(task=Task.GENERATE, context=9, vocabulary=9,
                    dtype="float32", seconds_verify=0, seconds_load=0)))
            elif m.op == "cancel":
                seen.append(m.id)
            elif m.op == "tokenize" and m.text == "what":
                channel.sendall(encode(TokenIds(id=m.id, ids=tuple(seen))))
            elif m.op == "stop":
                os._exit(0)
"""
    )

    async def story() -> None:
        supervisor = make(script)
        await supervisor.start()
        ticket = await supervisor.ask(Tokenize(id=0, text="never answered"))
        ticket.close()
        ticket.close()
        answer = await only(await supervisor.ask(Tokenize(id=0, text="what")))
        assert answer.ids == (ticket.number,)
        await supervisor.stop()

    run(story())


def test_what_is_too_long_to_send_is_refused_here(make, monkeypatch):
    from pratique.core import wire
    from pratique.errors import FormatError

    async def story() -> None:
        supervisor = make(GOOD)
        await supervisor.start()
        monkeypatch.setattr(wire, "MAX_FRAME", 1000)
        with pytest.raises(FormatError):
            await supervisor.ask(Tokenize(id=0, text="x" * 2000))
        assert isinstance(await ask(supervisor), TokenIds | Failed)
        await supervisor.stop()

    run(story())


def test_a_worker_that_hangs_is_replaced(make, monkeypatch):
    monkeypatch.setattr(supervisor_module, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(supervisor_module, "_LONGEST_SILENCE", 0.2)
    monkeypatch.setattr(supervisor_module, "_LAST_WORDS", 0.1)
    script = code(on_message="lambda c, m: time.sleep(1000) if m.text == 'hang' else answer(c, m)")

    async def story() -> None:
        notes = Notes()
        supervisor = make(f"import time\n{script}", notes)
        await supervisor.start()
        running = asyncio.create_task(supervisor.run())
        with pytest.raises(WorkerGone):
            await only(await supervisor.ask(Tokenize(id=0, text="hang")))
        assert [await notes.loads.get() for _ in range(2)] == [Rung.AUTO, Rung.AUTO]
        assert isinstance(await ask(supervisor), TokenIds)
        await supervisor.stop()
        await running

    run(story())
