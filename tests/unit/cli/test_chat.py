"""Ctrl-C stops an answer and keeps what came of it; at the prompt it ends nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pratique.cli.chat import _Interrupts
from pratique.cli.runtime_options import shown


def test_an_answer_that_is_stopped_keeps_what_came_and_closes_its_source():
    closed = []

    async def talk() -> str:
        interrupts = _Interrupts()

        async def pieces() -> AsyncIterator[str]:
            try:
                yield "half of "
                yield "it"
                asyncio.get_running_loop().call_soon(interrupts.pressed)
                await asyncio.Event().wait()
                yield "never"
            finally:
                closed.append(True)

        return await interrupts.stoppable(pieces())

    assert asyncio.run(talk()) == "half of it"
    assert closed == [True]


def test_an_error_in_an_answer_is_not_swallowed():
    async def pieces() -> AsyncIterator[str]:
        yield "half"
        raise ValueError("the worker ended")

    async def talk() -> None:
        await _Interrupts().stoppable(pieces())

    with pytest.raises(ValueError, match="the worker ended"):
        asyncio.run(talk())


def test_at_the_prompt_it_says_how_to_end(capsys):
    _Interrupts().pressed()
    assert "Ctrl-D" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["\x1b[2J", "\r", "\x9b31m", "\x07", "\N{RIGHT-TO-LEFT OVERRIDE}"])
def test_nothing_in_an_answer_steers_the_terminal(text):
    assert shown(f"a{text}b").isprintable()
