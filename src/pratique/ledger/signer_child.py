"""The program that holds the log's key: `python -m pratique.ledger.signer_child FD KEY`.

It gets one end of a socket pair and the key's path, serves that one channel (signer_process.py), and
ends when the other end closes. Imported by nobody.

It ends by nothing else that a terminal or a service manager sends: a stop that reaches every process
of a service at once must not take the last checkpoint away.
"""

import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from pratique.errors import PratiqueError
from pratique.ledger.signer import key_signer
from pratique.ledger.signer_process import refuse_to_serve, serve_signer


def main(arguments: Sequence[str]) -> int:
    """Hold the key and serve; return the exit code."""
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel = socket.socket(fileno=int(arguments[0]))
    try:
        signer = key_signer(Path(arguments[1]))
    except PratiqueError as error:
        refuse_to_serve(channel, error)
        return error.exit_code
    serve_signer(channel, signer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
