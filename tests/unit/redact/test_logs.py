"""The choke point: nothing a library logs, warns, raises or prints goes around it."""

import asyncio
import gc
import io
import json
import logging
import os
import sys
import threading
import warnings

import httpx
import pydantic
import pytest
import uvicorn.config

from pratique.errors import FormatError
from pratique.redact.drain import Drain
from pratique.redact.logs import RedactingHandler, install
from pratique.redact.records import ExceptionText

MAIL, CARD, PROMPT = "jane@example.com", "4111 1111 1111 1111", "my mother's recipe for plum cake"


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def choke(stream):
    with install(stream, level=logging.DEBUG) as installed:
        yield installed


def events(stream):
    text = stream.getvalue()
    assert MAIL not in text
    assert CARD not in text
    assert "\x1b" not in text
    return [json.loads(line) for line in text.splitlines()]


def test_message_arguments_and_extra(choke, stream):
    logging.getLogger("any.library").info(
        "mail %s", MAIL, extra={"password": "hunter2", "user": {"card": CARD}, "count": 3}
    )
    event = events(stream)[0]
    assert event["message"] == "mail [EMAIL]"
    assert event["extra"] == {"password": "[SECRET]", "user": {"card": "[CARD]"}, "count": 3}


def test_no_newline_or_escape_gets_out(choke, stream):
    logging.getLogger("x").warning("a\nfake line\r\n\x1b[31m\x00\u2028red")
    assert stream.getvalue().count("\n") == 1
    assert "\\u001b" in stream.getvalue()


def test_own_handlers_and_no_propagation_do_not_go_around(choke, stream):
    other = io.StringIO()
    logger = logging.getLogger("stubborn")
    handler = logging.StreamHandler(other)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.error("mail %s", MAIL)
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    assert other.getvalue() == ""
    assert events(stream)[0]["message"] == "mail [EMAIL]"


def test_uvicorn_with_its_own_configuration(choke, stream):
    before = {n: logging.getLogger(n).handlers[:] for n in ("uvicorn", "uvicorn.access")}
    try:
        uvicorn.config.Config(lambda: None).configure_logging()
        logging.getLogger("uvicorn.access").info(
            '%s - "%s %s HTTP/%s" %d',
            "203.0.113.9:1",
            "GET",
            f"/v1/x?prompt=plum&mail={MAIL}",
            "1.1",
            200,
        )
    finally:
        for name, handlers in before.items():
            logging.getLogger(name).handlers[:] = handlers
            logging.getLogger(name).propagate = True
    message = events(stream)[-1]["message"]
    assert "plum" not in message
    assert "203.0.113.9" not in message
    assert "GET /v1/x?" in message


def test_httpx_logs_no_query_and_no_credentials(choke, stream):
    transport = httpx.MockTransport(lambda _request: httpx.Response(200))
    with httpx.Client(transport=transport) as client:
        client.get(f"https://host.example/p?secret=plumcake&mail={MAIL}")
    message = next(e["message"] for e in events(stream) if e["logger"] == "httpx")
    assert "plumcake" not in message
    assert "https://host.example/p?" in message


def test_authorization_and_cookie_headers(choke, stream):
    logging.getLogger("x").info("Authorization: Bearer abc\nx-api-key: k\nCookie: a=b")
    message = events(stream)[0]["message"]
    assert message == "Authorization: [SECRET]\nx-api-key: [SECRET]\nCookie: [SECRET]"


def test_exception_text_that_may_quote_a_prompt_is_withheld(choke, stream):
    secret_local = MAIL  # noqa: F841  a local that a careless formatter would print
    try:
        try:
            raise ValueError(PROMPT)
        except ValueError as error:
            raise RuntimeError(f"could not answer {PROMPT}") from error
    except RuntimeError:
        logging.getLogger("x").exception("failed")
    text = stream.getvalue()
    assert "plum" not in text
    chain = events(stream)[0]["exception"]
    assert [e["type"] for e in chain] == ["builtins.RuntimeError", "builtins.ValueError"]
    assert "test_logs.py" in chain[0]["at"][-1]


def test_our_own_and_the_systems_words_are_shown(choke, stream):
    for error in (FormatError("line 3 is off"), FileNotFoundError(2, "No such file", MAIL)):
        logging.getLogger("x").error("failed", exc_info=error)
    words = [e["exception"][0]["text"] for e in events(stream)]
    assert words == ["line 3 is off", "No such file"]


def test_redacted_exception_text_where_asked_for(stream):
    with install(stream, exceptions=ExceptionText.REDACTED):
        logging.getLogger("x").error("failed", exc_info=ValueError(f"bad {MAIL}"))
    assert events(stream)[0]["exception"][0]["text"] == "bad [EMAIL]"


def test_validation_errors_name_rules_not_input(choke, stream):
    class Body(pydantic.BaseModel):
        n: int

    try:
        Body.model_validate({"n": PROMPT})
    except pydantic.ValidationError as error:
        logging.getLogger("x").exception("422", exc_info=error)
    assert events(stream)[0]["exception"][0]["text"] == "1 validation errors: n: int_parsing"
    assert "plum" not in stream.getvalue()


def test_warnings(choke, stream):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = sys.modules["pratique.redact.logs"]._on_warning
        warnings.warn(f"mail {MAIL}", stacklevel=1)
    assert "[EMAIL]" in events(stream)[0]["message"]


def test_uncaught_in_main_in_a_thread_and_in_a_destructor(choke, stream):
    def fail():
        raise ValueError(PROMPT)

    class Dying:
        def __del__(self):
            fail()

    try:
        fail()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Dying()
    gc.collect()
    assert len([e for e in events(stream) if "exception" in e]) == 3
    assert "plum" not in stream.getvalue()


def test_tasks_with_and_without_the_loop_watched(choke, stream):
    async def fail(_prompt):
        raise ValueError(PROMPT)

    async def main(*, watched):
        loop = asyncio.get_running_loop()
        if watched:
            choke.watch(loop)
        loop.call_soon(lambda _prompt: 1 / 0, PROMPT)
        task = asyncio.ensure_future(fail(PROMPT))
        await asyncio.wait([task])
        del task
        gc.collect()

    for watched in (True, False):
        asyncio.run(main(watched=watched))
    assert len([e for e in events(stream) if e["logger"] == "asyncio" and "exception" in e]) == 4
    assert "plum" not in stream.getvalue()


def test_a_message_that_does_not_format_shows_no_arguments(choke, stream):
    logging.getLogger("x").info("%d items", PROMPT)
    assert events(stream)[0]["message"] == "[WITHHELD:message does not format]"


def test_a_stream_that_fails_prints_nothing_elsewhere(capfd):
    closed = io.StringIO()
    closed.close()
    logger = logging.getLogger("alone")
    handler = RedactingHandler(closed)
    logger.addHandler(handler)
    try:
        logger.error("mail %s", MAIL)
    finally:
        logger.removeHandler(handler)
    assert "jane" not in "".join(capfd.readouterr())


def test_remove_puts_everything_back(stream):
    before = (
        logging.Logger.callHandlers,
        logging.Handler.handle,
        sys.excepthook,
        threading.excepthook,
        warnings.showwarning,
    )
    with install(stream):
        assert logging.Logger.callHandlers is not before[0]
    assert before == (
        logging.Logger.callHandlers,
        logging.Handler.handle,
        sys.excepthook,
        threading.excepthook,
        warnings.showwarning,
    )


def test_a_childs_lines_are_redacted_joined(choke, stream):
    reader, writer = os.pipe()
    drain = Drain(reader, "child").start()
    key = b"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
    os.write(writer, b"loading\n" + key)
    os.close(writer)
    drain.join()
    text = stream.getvalue()
    assert "MIIEv" not in text
    assert "9w0BAQEFAASC" not in text
    assert "loading" in text


def test_a_burst_too_long_is_withheld(choke, stream):
    reader, writer = os.pipe()
    drain = Drain(reader, "child").start()
    for _ in range(300):
        os.write(writer, b"x" * 1024)
    os.write(writer, b"jane@example.com\n")
    os.close(writer)
    drain.join()
    assert events(stream)[-1]["message"] == "[WITHHELD:too-long]"


def test_headers_in_any_container(choke, stream):
    headers = {"Authorization": "Bearer plum", b"Cookie": b"a=plum"}
    pairs = [("X-Api-Key", "plum"), (b"set-cookie", b"a=plum")]
    logging.getLogger("x").info(
        "m", extra={"one": headers, "two": pairs, "three": b"mail " + MAIL.encode()}
    )
    assert "plum" not in stream.getvalue()
    assert events(stream)[0]["extra"]["three"] == "mail [EMAIL]"


def test_a_folded_header_goes_whole(choke, stream):
    logging.getLogger("x").info("Authorization: Basic\n plum\nnext")
    assert events(stream)[0]["message"] == "Authorization: [SECRET]\nnext"


def test_the_query_of_a_bare_path(choke, stream):
    logging.getLogger("x").info("request /v1/x?prompt=plum failed; is /etc/hosts there?")
    message = events(stream)[0]["message"]
    assert message == "request /v1/x?query-removed failed; is /etc/hosts there?"


def test_places_are_redacted(choke, stream):
    try:
        exec(compile("1/0", f"/home/{MAIL}/a.py\n\x1b", "exec"))
    except ZeroDivisionError:
        logging.getLogger("x").exception("m")
    record = logging.makeLogRecord({"stack_info": f'File "/{MAIL}", line 3, in f'})
    logging.getLogger("x").handle(record)
    assert len(events(stream)) == 2


@pytest.mark.parametrize("created", [float("nan"), 1e30, MAIL, None])
def test_a_record_with_an_impossible_time_is_still_written(choke, stream, created):
    logging.getLogger("x").handle(logging.makeLogRecord({"created": created, "msg": MAIL}))
    assert events(stream)[0]["message"] == "[EMAIL]"


def test_a_hostile_level_name_is_withheld(choke, stream):
    class Hostile:
        def __str__(self):
            raise RuntimeError(MAIL)

    logging.getLogger("x").handle(logging.makeLogRecord({"levelname": Hostile()}))
    assert events(stream)[0]["message"] == "[WITHHELD:error]"


def test_many_long_fields_cost_no_more_than_one_record_may(choke, stream):
    extra = {f"k{i}": "4 " * 20_000 for i in range(40)}
    logging.getLogger("x").info("m", extra=extra)
    fields = events(stream)[0]["extra"]
    assert sum(v == "[WITHHELD:too-long]" for v in fields.values()) == 37


def test_handlers_called_directly_and_loggers_of_their_own_class(choke, stream):
    other = io.StringIO()
    handler = logging.StreamHandler(other)

    class Stubborn(logging.Logger):
        def callHandlers(self, record):
            handler.handle(record)

    Stubborn("stubborn").warning(MAIL)
    handler.handle(logging.makeLogRecord({"msg": MAIL}))
    logging.lastResort.handle(logging.makeLogRecord({"msg": MAIL, "levelno": 40}))
    assert other.getvalue() == ""
    assert [e["message"] for e in events(stream)] == ["[EMAIL]"] * 3
