"""The `pratique` command: finds verbs without importing them, maps every error to its exit code."""

import contextlib
import importlib
import os
import sys
from pathlib import Path
from typing import Final

import click

from pratique import __version__
from pratique.cli.context import Context, default_home
from pratique.cli.paths import FOLDER
from pratique.cli.streams import fill_standard_streams, written
from pratique.errors import LedgerNotIntact, PratiqueError, StorageError, UsageError

# verb -> (module under pratique.cli, one line for --help, group of the help page)
VERBS: Final[dict[str, tuple[str, str, str]]] = {
    "demo": ("demo", "The whole story on the built-in sample, in under two minutes.", "Start here"),
    "doctor": ("doctor", "What this host can do: the lock, memory, versions.", "Start here"),
    "fetch": ("fetch", "Pin a repository, refuse early, download verified.", "Connected side"),
    "vet": ("vet", "Judge a model directory or snapshot.", "Connected side"),
    "convert": ("convert", "Turn allowed pickle weights into safetensors.", "Connected side"),
    "calibrate": (
        "calibrate",
        "Measure the memory of a vetted snapshot.",
        "Connected side",
    ),
    "seal": ("seal", "Vet again, then sign a self-contained bundle.", "Connected side"),
    "approve": ("approve", "The second person's signature.", "Connected side"),
    "build": ("build", "Fetch, vet and seal from a recipe.", "Connected side"),
    "lock": ("lock", "Pin a recipe.", "Connected side"),
    "report": ("report", "What is known about a bundle, as a page.", "Connected side"),
    "diff": ("diff", "What differs between two bundles or directories.", "Connected side"),
    "split": ("split", "Cut a bundle into parts for media.", "Carrying"),
    "join": ("join", "Put parts together and prove what arrived.", "Carrying"),
    "receipt": ("receipt", "Say what arrived, for the way back.", "Carrying"),
    "verify": ("verify", "Check a bundle's signatures and every byte.", "Inside"),
    "admit": ("admit", "Verify, vet again and take into the store.", "Inside"),
    "list": ("list_", "What has been admitted.", "Inside"),
    "show": ("show", "One bundle or admitted model in detail.", "Inside"),
    "revoke": ("revoke", "Stop a bundle, key or identity now.", "Inside"),
    "fsck": ("fsck", "Check the store against its own digests.", "Inside"),
    "gc": ("gc", "Remove content that no admitted bundle needs.", "Inside"),
    "fit": ("fit", "Which rung of the ladder fits this machine.", "Inside"),
    "serve": ("serve", "Serve an admitted model with no way out.", "Inside"),
    "generate": ("generate", "One answer, or a batch file of them.", "Inside"),
    "chat": ("chat", "Talk to an admitted model in the terminal.", "Inside"),
    "hub": ("hub", "Admitted bundles over the Hub's own protocol.", "Inside"),
    "log": ("log", "The ledger: verify, show, prove, checkpoint.", "Records and trust"),
    "redact": ("redact", "Take personal data and secrets out of text.", "Records and trust"),
    "trust": ("trust", "Who may sign: init, install, update, status.", "Records and trust"),
    "keys": ("keys", "Make signing keys.", "Records and trust"),
    "policy": ("policy", "Check, print and explain policies.", "Records and trust"),
}

# Verbs whose refusals are kept: each decides what may come in, go out or be trusted.
_RECORDED: Final = frozenset(
    [
        *"fetch calibrate seal build approve verify admit serve generate chat".split(),
        "trust install",
    ]
)
# Verbs that judge what has expired by the clock of this host.
_JUDGES_TIME: Final = frozenset("verify admit serve generate chat hub list show".split())
_TALKS: Final = frozenset("serve generate chat".split())
_MAX_WHAT: Final = 500
_MAX_MESSAGE: Final = 4000
_UNRECORDED: Final = frozenset({UsageError.exit_code, LedgerNotIntact.exit_code})


def _present(verb: str) -> bool:
    return (Path(__file__).parent / f"{VERBS[verb][0]}.py").is_file()


class LazyVerbs(click.Group):
    """Imports a verb's module only when it is called, so that `--help` stays fast."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb; a refusal that matters later is recorded before it is reported."""
        words = list(ctx.args)
        try:
            return super().invoke(ctx)
        except PratiqueError as error:
            verb = ctx.invoked_subcommand or ""
            if [verb, *words[:1]] == ["trust", "install"]:
                verb = f"{verb} {words.pop(0)}"
            if verb in _RECORDED and error.exit_code not in _UNRECORDED and ctx.obj is not None:
                _record(ctx.obj, verb, words, error)
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, in the order of the story."""
        del ctx
        return [verb for verb in VERBS if _present(verb)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb, or None when there is no such verb."""
        del ctx
        if cmd_name not in VERBS or not _present(cmd_name):
            return None
        module = importlib.import_module(f"pratique.cli.{VERBS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs by group without importing any of them."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for verb in self.list_commands(ctx):
            _, line, group = VERBS[verb]
            groups.setdefault(group, []).append((verb, line))
        for group, rows in groups.items():
            with formatter.section(group):
                formatter.write_dl(rows)


@click.group(
    cls=LazyVerbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example:  pratique fetch ORG/NAME && pratique seal SNAPSHOT --key me.key"
    "   Exit codes: docs/exit-codes.md",
)
@click.version_option(__version__, "-V", "--version", message="pratique %(version)s")
@click.option("-v", "--verbose", count=True, help="Say more; -vv shows tracebacks.")
@click.option(
    "--home",
    type=FOLDER,
    help="Where quarantine, store, trust, ledger and keys live  [PRATIQUE_HOME].",
)
@click.pass_context
def cli(ctx: click.Context, verbose: int, home: Path | None) -> None:
    """Bring open models into closed networks: fetch, vet, seal, carry, admit, serve."""
    ctx.obj = Context(home=(home or default_home()).absolute(), verbose=verbose)
    if (ctx.obj.home / "ledger" / "intents").is_dir():
        _settle(ctx.obj.home)
    if ctx.invoked_subcommand in _JUDGES_TIME:
        _check_clock(ctx.obj.home)


def main(args: list[str] | None = None) -> None:
    """Run one command and exit with its code; see docs/exit-codes.md. Ours to read alone by default."""
    os.umask(0o077)
    fill_standard_streams()
    try:
        code = run(args)
    except SystemExit as stop:  # click's way where the reader went away; 1 is the code of a bug
        code = StorageError.exit_code if stop.code == 1 else int(stop.code or 0)
    sys.exit(code if written() else code or StorageError.exit_code)


def run(args: list[str] | None = None) -> int:
    """Run one command and return its exit code. Prints errors; never lets a traceback out."""
    try:
        result = cli.main(args=args, prog_name="pratique", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return 130
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except PratiqueError as error:
        _say(error.message, error.hint or error.usual_hint)
        return error.exit_code
    except BrokenPipeError:
        return StorageError.exit_code  # the reader went away (`| head`): nothing more can be said
    except OSError as error:
        _say(
            f"{error.strerror or 'I/O error'}: {error.filename or ''}".rstrip(": ")[:_MAX_WHAT],
            "check the path, who may read and write there, and the space left; then run it again",
        )
        return 7
    except Exception as error:
        if os.environ.get("PRATIQUE_TRACEBACK"):
            raise
        _say(
            f"a bug in pratique ({type(error).__name__}); no decision was made",
            "set PRATIQUE_TRACEBACK=1 to see where, and report it (SECURITY.md)",
        )
        return 1
    return result if isinstance(result, int) else 0


def _check_clock(home: Path) -> None:
    if (home / "ledger" / "segments").is_dir():
        from datetime import UTC, datetime

        from pratique.flows.clock import check_against_ledger

        check_against_ledger(home, datetime.now(UTC))


def _settle(home: Path) -> None:
    """Record what a killed command had done. Looking goes on where that cannot be written now."""
    from pratique.flows import recording

    try:
        recording.settle(home)
    except (PratiqueError, OSError) as failed:
        click.echo(f"a killed command is not on the record yet: {_one_line(str(failed))}", err=True)


def _record(context: Context, verb: str, words: list[str], error: PratiqueError) -> None:
    """Keep a refusal on the home's ledger. A ledger that cannot be written does not hide the refusal."""
    from pratique.flows import recording

    # What runs a model may have a prompt among its words: nothing of those is written down.
    about = "" if verb in _TALKS else next((w for w in words if not w.startswith("-")), "")
    try:
        with recording.recording(context.make_home()) as write:
            write([recording.refused(verb, about, error)])
    except (PratiqueError, OSError) as failed:
        click.echo(f"not recorded: {_one_line(str(failed))}", err=True)


def _say(message: str, hint: str) -> None:
    with contextlib.suppress(OSError):  # nobody can be told; the exit code is what is left
        click.echo(f"refused: {_one_line(_cut(message))}", err=True)
        if hint:
            click.echo(f"   hint: {_one_line(hint)}", err=True)


def _cut(text: str) -> str:
    """A message may quote an argument, and an argument may be as long as it likes."""
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}…"


def _one_line(text: str) -> str:
    """Foreign text in a message must not move the cursor or start a line."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


if __name__ == "__main__":
    main()
