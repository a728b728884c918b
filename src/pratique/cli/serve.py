"""`pratique serve`: an admitted model behind HTTP, with no way out."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pratique.cli.context import Context, pass_context
from pratique.cli.paths import FILE, NAME
from pratique.cli.runtime_options import NEW_KEY, runtime_options, tell, wishes_of
from pratique.errors import UsageError

if TYPE_CHECKING:
    from pratique.redact.logs import Choke


@click.command(epilog="Example:  pratique serve sample --port 8000")
@click.argument("name", type=NAME, required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Other than loopback: --keys.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any."
)
@click.option("--unix", type=FILE, help="Listen on a Unix socket instead, for this user alone.")
@click.option(
    "--unix-group", metavar="GROUP", help="Let this group's members use the Unix socket too."
)
@click.option("--keys", type=FILE, help="Who may ask: TOML with the SHA-256 of each key.")
@click.option("--tls-cert", type=FILE, help="Certificate chain, PEM.")
@click.option("--tls-key", type=FILE, help="Its private key, PEM.")
@click.option(
    "--allow-host", multiple=True, metavar="NAME", help="A further Host name to answer to."
)
@click.option(
    "--queue", type=click.IntRange(0), default=256, show_default=True, help="Waiting requests."
)
@click.option(
    "--recheck",
    type=click.IntRange(1, 60),
    default=20,
    show_default=True,
    metavar="SECONDS",
    help="How often revocations, expiry and trust are looked at again.",
)
@click.option(
    "--engine",
    type=click.Choice(["transformers"]),
    default="transformers",
    show_default=True,
    help="What runs the model.",
)
@runtime_options
@NEW_KEY
@pass_context
def command(
    context: Context,
    *,
    name: str | None,
    host: str,
    port: int,
    unix: Path | None,
    unix_group: str | None,
    keys: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    allow_host: tuple[str, ...],
    queue: int,
    recheck: int,
    engine: str,
    policy: str,
    rung: str | None,
    context_length: int | None,
    parallel: int | None,
    in_memory: bool,
) -> None:
    """Serve the admitted model NAME over an OpenAI-compatible API.

    Prints the load decision on stderr, and the URL on stdout once the model is ready. SIGTERM drains.
    """
    from pratique.admit.load import open_admitted
    from pratique.cli.load_decision import decision_lines
    from pratique.cli.progress_bar import progress_bar
    from pratique.errors import ServeError
    from pratique.flows.enclave_policy import enclave_policy
    from pratique.redact.logs import install
    from pratique.serve.gateway.access import read_keys
    from pratique.serve.gateway.app import Settings
    from pratique.serve.server import Listen, bind, run
    from pratique.serve.session import opened, still_admitted

    del engine  # there is one so far; the option fixes its name
    if name is None:
        raise UsageError("which model?", hint="give a NAME from `pratique list`")
    callers = read_keys(keys) if keys else ()
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    if unix_group is not None and unix is None:
        raise UsageError("--unix-group goes with --unix")
    listen = Listen(
        host=host,
        port=port,
        unix=unix.absolute() if unix else None,
        unix_group=unix_group,
        certificate=tls_cert,
        private_key=tls_key,
        names=allow_host,
    )
    home, err = context.make_home(), context.err
    rules = enclave_policy(home, policy)
    sock = bind(listen, callers)
    try:
        with progress_bar(context) as progress:
            admitted = open_admitted(
                home, name, now=datetime.now(UTC), policy=rules, progress=progress
            )
        wishes = wishes_of(rung, context_length, parallel, in_memory=in_memory)
        with opened(admitted, home, policy=rules, wishes=wishes) as session:
            err.print(
                f"{admitted.label}, bundle {admitted.bundle_id}", markup=False, soft_wrap=True
            )
            for line in decision_lines(session.plan):
                err.print(line, markup=False, soft_wrap=True)
            supervisor = session.supervisor(tell(err))
            why = "stopped"
            try:
                # Whatever a library logs from here on passes through the redactor, on one line each.
                with install(sys.stderr, level=logging.WARNING) as choke:
                    serving = run(
                        supervisor,
                        sock,
                        listen=listen,
                        limits=session.limits,
                        settings=Settings(queue=queue),
                        keys=callers,
                        recorder=session.records,
                        on_ready=click.echo,
                        still_admitted=still_admitted(admitted, home, rules),
                        check_seconds=recheck,
                    )
                    asyncio.run(_watched(choke, serving))
            except Exception as error:
                why = getattr(error, "message", type(error).__name__)
                raise
            finally:
                session.records.unloaded(why)
    except OSError as error:
        raise ServeError(f"serving ended: {error.strerror or error}") from error
    finally:
        sock.close()


async def _watched(choke: "Choke", serving: Coroutine[None, None, None]) -> None:
    """Serve with what escapes from tasks and callbacks going through the choke point too."""
    choke.watch(asyncio.get_running_loop())
    await serving
