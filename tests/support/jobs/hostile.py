"""A job of the tests' own: runs whatever Python text it is sent, as remote code would.

Found under `pratique.jobs` only by the interpreter that `tests.support.confined` makes.
"""

import json
import socket


def run(request, note):
    scope = {"note": note, "out": None}
    exec(compile(request.decode(), "hostile", "exec"), scope)  # what it is for
    return json.dumps(scope["out"], default=repr).encode()


def main(channel: socket.socket) -> None:
    """Runs one text per line received and answers each with one line."""
    with channel.makefile("rwb") as stream:
        for line in stream:
            scope = {"channel": channel, "stream": stream, "out": None}
            exec(compile(json.loads(line), "hostile", "exec"), scope)
            stream.write(json.dumps(scope["out"], default=repr).encode() + b"\n")
            stream.flush()
