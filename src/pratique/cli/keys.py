"""`pratique keys`: make signing keys, and say which key is which."""

from pathlib import Path

import click

from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import FILE, PATH
from pratique.errors import UnreadableInput


@click.group()
def command() -> None:
    """Make signing keys.

    Example:  pratique keys new ann   (writes ann.key and ann.pub)
    """


@command.command("new")
@click.argument("prefix", type=PATH)
@click.option(
    "--algorithm",
    type=click.Choice(["p256", "p384", "ed25519"]),
    default="p256",
    show_default=True,
    help="Other tools that read Model Signing cannot read ed25519.",
)
@click.option("--encrypt", is_flag=True, help="Ask for a password and encrypt the key with it.")
@click.option(
    "--password-file",
    type=FILE,
    help="Encrypt the key with this file's content.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the paths and the key's id as JSON.")
@pass_context
def new(
    ctx: Context,
    prefix: Path,
    *,
    algorithm: str,
    encrypt: bool,
    password_file: Path | None,
    as_json: bool,
) -> None:
    """Write PREFIX.key (private, mode 0600) and PREFIX.pub. Overwrites nothing.

    Example:  pratique keys new ann --encrypt
    """
    from pratique.attest.keys import generate_key

    password = None
    if password_file is not None:
        password = read_password(password_file)
    elif encrypt:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True).encode()
    key_id = generate_key(prefix, algorithm, password)  # type: ignore[arg-type]  # click chose it
    private, public = f"{prefix}.key", f"{prefix}.pub"
    if as_json:
        print_json("keys", {"key": private, "public": public, "key_id": key_id})
        return
    ctx.err.print(f"key id {key_id}", markup=False)
    if password is None:
        ctx.err.print("the key is not encrypted: keep it where only you can read it", markup=False)
    click.echo(private)


@command.command("id")
@click.argument("public", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_id(public: Path, *, as_json: bool) -> None:
    """Print the id of a public key, as trust roots and signatures name it.

    Example:  pratique keys id ann.pub
    """
    from pratique.attest.keys import key_id_of, parse_public_key, public_pem

    try:
        pem = public.read_bytes()
    except OSError as error:
        raise UnreadableInput(
            f"cannot read {public}: {error.strerror}", hint="give the .pub file"
        ) from error
    key_id = key_id_of(public_pem(parse_public_key(pem)))
    if as_json:
        print_json("keys", {"public": str(public), "key_id": key_id})
        return
    click.echo(key_id)


def read_password(path: Path) -> bytes:
    """Return a password file's content, without the line end. Raises UnreadableInput if empty."""
    from pratique.cli.key_password import MAX_PASSWORD_BYTES

    try:
        with path.open("rb") as file:
            password = file.read(MAX_PASSWORD_BYTES).rstrip(b"\r\n")
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}") from error
    if not password:
        raise UnreadableInput(f"{path} holds no password")
    return password
