"""The whole runtime: socket first, then the worker, then the gateway; and all of it down again.

The port is bound before anything is loaded, so that a port in use costs no minute. SIGTERM and SIGINT
drain: what is new gets 503, what runs may finish, the worker ends, exit code 0. A second signal does
not wait for what runs.
"""

import asyncio
import contextlib
import errno
import grp
import ipaddress
import os
import signal
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pratique.core.ids import shown
from pratique.core.load import Limits
from pratique.errors import PratiqueError, ServeError, UnreadableInput, UsageError
from pratique.serve.gateway.access import Callers, Key
from pratique.serve.gateway.app import Gateway, Settings
from pratique.serve.gateway.errors import note_bug
from pratique.serve.gateway.exchange import Recorder
from pratique.serve.gateway.http import Server, server
from pratique.serve.gateway.routes import application
from pratique.serve.supervisor import Supervisor

REVOCATION_SECONDS: Final = 20.0
"""How often the parent asks whether the bundle may still be served."""
_LAST_BYTES_SECONDS: Final = 2
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where to listen: a host and port (0: any), or the path of a Unix socket."""

    host: str = "127.0.0.1"
    port: int = 8000
    unix: Path | None = None
    unix_group: str | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    names: tuple[str, ...] = ()

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.unix is not None or is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bind(listen: Listen, keys: tuple[Key, ...]) -> socket.socket:
    """Bind the socket. Raises ServeError for a port in use, UsageError for what would be unsafe."""
    if not listen.loopback and not keys:
        raise UsageError(
            f"{listen.host} can be reached from other machines, and there are no API keys",
            hint="give --keys FILE (make one with --new-key), or listen on 127.0.0.1",
        )
    _check_tls(listen)
    if listen.unix is not None:
        return _bind_unix(listen.unix, listen.unix_group)
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    # asyncio turns off Nagle's delay (40 ms an answer on a kept connection) only where TCP is named.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((listen.host.strip("[]"), listen.port))
        sock.listen(1024)
    except OSError as error:
        sock.close()
        why = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise ServeError(
            f"cannot listen on {listen.host}:{listen.port}: {why}",
            hint="give another --port (0 takes a free one), or stop the other server",
        ) from error
    return sock


def _check_tls(listen: Listen) -> None:
    """Before a model is loaded: a certificate or key that cannot be used."""
    if listen.certificate is None or listen.private_key is None:
        return
    try:
        # Without a password: nobody is there to type one when the service starts.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            listen.certificate, listen.private_key, password=b""
        )
    except OSError as error:
        raise UnreadableInput(
            f"cannot use {listen.certificate} with {listen.private_key} for TLS",
            hint="give PEM files that belong together; the key without a password",
        ) from error


def _bind_unix(path: Path, group: str | None) -> socket.socket:
    """Bind a Unix socket, mode 0600, or 0660 for the members of `group`.

    A dead one is replaced; anything else at its place is not.
    """
    members = None if group is None else _group_id(group)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() or path.is_symlink():
            if not stat.S_ISSOCK(path.lstat().st_mode) or sock.connect_ex(str(path)) == 0:
                raise ServeError(
                    f"{path} is in use", hint="give another --unix path, or stop the other server"
                )
            path.unlink()
            sock.close()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(path))
        path.chmod(0o600)
        if members is not None:
            os.chown(path, -1, members)
            path.chmod(0o660)
        sock.listen(1024)  # until here nobody could connect
    except OSError as error:
        sock.close()
        raise ServeError(
            f"cannot listen on {path}: {error.strerror}", hint="give another --unix path"
        ) from error
    except ServeError:
        sock.close()
        raise
    return sock


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise UsageError(
            f"there is no group {shown(name)}", hint="make it, or leave --unix-group out"
        ) from error


def url(listen: Listen, sock: socket.socket) -> str:
    """Return where clients find the server."""
    if listen.unix is not None:
        return f"unix:{listen.unix}"
    host, port = sock.getsockname()[:2]
    scheme = "https" if listen.certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def settings_for(listen: Listen, settings: Settings) -> Settings:
    """Return which host names are answered: the loopback's, those given, or any with keys elsewhere."""
    if listen.unix is not None:
        return replace(settings, hosts=None)
    if listen.loopback:
        names = _LOOPBACK | {listen.host.lower()} | {name.lower() for name in listen.names}
        return replace(settings, hosts=frozenset(names))
    return replace(settings, hosts=frozenset(n.lower() for n in listen.names) or None)


@dataclass(slots=True)
class _Run:
    http: Server
    gateway: Gateway
    supervisor: Supervisor
    failure: PratiqueError | None = None
    draining: "asyncio.Task[None] | None" = None

    def leave(self) -> None:
        """Begin to drain; asked again, stop listening at once."""
        if self.draining is not None:
            self.http.should_exit = True
            return
        self.gateway.draining = True
        self.draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        """Stop listening once nothing runs any more; until then new requests are told so."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.gateway.settings.drain_seconds):
                await self.gateway.idle.wait()
        self.http.should_exit = True


async def run(
    supervisor: Supervisor,
    sock: socket.socket,
    *,
    listen: Listen,
    limits: Limits,
    settings: Settings,
    keys: tuple[Key, ...],
    recorder: Recorder,
    on_ready: Callable[[str], None],
    still_admitted: Callable[[], None] | None = None,
    check_seconds: float = REVOCATION_SECONDS,
) -> None:
    """Load, serve until a signal, drain. `supervisor` has not been started yet.

    `still_admitted` raises a PratiqueError once the bundle may no longer be served: then the server
    drains and that error is raised. Raises ServeError when the worker cannot be kept alive.
    """
    settings = settings_for(listen, settings)
    gateway = Gateway(
        supervisor, limits=limits, settings=settings, callers=Callers(keys), recorder=recorder
    )
    tls = {}
    if listen.certificate is not None and listen.private_key is not None:
        tls = {
            "ssl_certfile": str(listen.certificate),
            "ssl_keyfile": str(listen.private_key),
        }
    http = server(
        application(gateway),
        header_seconds=settings.header_seconds,
        keep_alive_seconds=settings.keep_alive_seconds,
        drain_seconds=_LAST_BYTES_SECONDS,
        connections=settings.connections,
        tls=tls,
    )
    state = _Run(http, gateway, supervisor)
    async with _signals(state):
        try:
            if not await _start(state):
                return
            on_ready(url(listen, sock))
            await _serve(state, sock, still_admitted, check_seconds)
        finally:
            if state.draining is not None:
                state.draining.cancel()
            await supervisor.stop(grace=settings.drain_seconds)
            sock.close()
            if listen.unix is not None:
                listen.unix.unlink(missing_ok=True)
    if state.failure is not None:
        raise state.failure


async def _start(state: _Run) -> bool:
    """Load; False if a signal came first."""
    starting = asyncio.create_task(state.supervisor.start())
    while not starting.done():
        await asyncio.wait({starting}, timeout=0.2)
        if state.draining is not None and not starting.done():
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            return False
    await starting
    return True


async def _serve(
    state: _Run,
    sock: socket.socket,
    still_admitted: Callable[[], None] | None,
    check_seconds: float,
) -> None:
    watching = [asyncio.create_task(_watch_worker(state))]
    if still_admitted is not None:
        watching.append(asyncio.create_task(_watch_trust(state, still_admitted, check_seconds)))
    try:
        await state.http.serve(sockets=[sock])
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def _watch_worker(state: _Run) -> None:
    try:
        await state.supervisor.run()
    except PratiqueError as error:
        state.failure = error
        state.leave()


async def _watch_trust(state: _Run, still_admitted: Callable[[], None], seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(still_admitted)
        except PratiqueError as error:
            state.failure = error
            state.leave()
            return


@contextlib.asynccontextmanager
async def _signals(state: _Run) -> AsyncIterator[None]:
    """Drain on SIGTERM and SIGINT while the block runs; note what goes wrong between tasks."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_note)
    taken = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, state.leave)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that no task awaited, without its words."""
    del loop
    error = context.get("exception")
    if isinstance(error, Exception) and not isinstance(error, OSError):
        note_bug(error)
