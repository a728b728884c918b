"""Workers are killed while clients of all kinds ask: every request ends, and the server goes on."""

import pytest

from tests.integration import test_serve_sample as sample
from tests.integration.test_serve_sample import serve
from tests.support.soak import held, outbound, soak

pytestmark = pytest.mark.slow
strict, world = sample.strict, sample.world  # pytest finds fixtures by their name here


def test_no_request_is_lost_while_workers_are_killed(world):
    with serve(world) as server:
        host = server.url.removeprefix("http://")
        warm = soak(host, server.process.pid, model="sample", count=32, kills=1, seed=1)
        before, _ = held(server.process.pid)
        went_out = outbound(server.process.pid)
        tally = soak(host, server.process.pid, model="sample", count=96, kills=3, seed=2)
        after, _ = held(server.process.pid)
        assert outbound(server.process.pid) == went_out
        server.process.terminate()
        assert server.ended() == 0
    assert warm.lost == tally.lost == []
    assert warm.ended.total() == 32
    assert tally.ended.total() == 96
    assert tally.kills == 3
    assert not any("gave up" in how or "cut off" in how for how in tally.ended)
    assert after <= before + 2
    done = sample.pratique(world, "log", "verify")
    assert done.returncode == 0, done.stderr
