"""A program that tries to get out."""

from collections.abc import Callable


def run(request: bytes, note: Callable[[str], None]) -> bytes:
    note("hello")
    return request


def main(channel):
    import os

    while data := channel.recv(1000):
        if data == b"die":
            os.abort()
        channel.sendall(data)
