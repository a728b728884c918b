import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pratique.errors import FetchError
from pratique.fetch.patience import Patience, wait_told


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 400}, 999999999.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"ratelimit": '"api";r=0;t=55'}, 55.0),
        ({"ratelimit": '"api";r=3;t=55'}, None),
        ({"ratelimit": "garbage"}, None),
    ],
)
def test_what_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert wait_told(headers) == seconds


def test_a_date_is_a_wait_from_now() -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    told = wait_told({"retry-after": when})
    assert told is not None
    assert 3500 < told <= 3600


def test_pauses_double_up_to_a_limit() -> None:
    slept: list[float] = []
    patience = Patience(sleep=slept.append, jitter=lambda: 1.0, longest=10)
    for failures in range(1, 7):
        patience.pause(failures, None, what="x")
    assert slept == [1, 2, 4, 8, 10, 10]


def test_jitter_never_makes_it_longer() -> None:
    slept: list[float] = []
    Patience(sleep=slept.append, jitter=lambda: 0.0).pause(3, None, what="x")
    assert slept == [2]


def test_too_long_a_wait_is_the_users_to_decide() -> None:
    with pytest.raises(FetchError, match="601 seconds"):
        Patience(sleep=lambda _: None).pause(1, {"retry-after": "601"}, what="x")


def test_a_stop_ends_a_long_wait() -> None:
    stop = threading.Event()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            stop.set()

    Patience(sleep=sleep).pause(1, {"retry-after": "500"}, what="x", stop=stop)
    assert slept == [1.0, 1.0, 1.0]
