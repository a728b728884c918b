"""Adapter between the public Model Signing conformance suite and this package's own verifier.

`sign-model` and `verify-model` as the suite calls them; exit 0 on success. The suite asks about plain
directories and single keys, so the adapter lists files itself and trusts exactly the key given.
"""

import argparse
import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from pratique.attest.authenticate import authenticate
from pratique.attest.certificate import CertificateSigner
from pratique.attest.envelope import IN_TOTO, ChainMaterial, KeyMaterial, read
from pratique.attest.keys import KeySigner, key_id_of, parse_public_key
from pratique.attest.sign import sign_payload
from pratique.attest.statement import MODEL_SIGNING, read_header, read_model
from pratique.attest.trustroot import Authorities
from pratique.core.ids import Digest, parse_relpath
from pratique.errors import FormatError, PratiqueError

GIT = (".git", ".gitignore", ".gitattributes", ".github")
MATERIALS = {"key": KeyMaterial, "certificate": ChainMaterial}


def listed(model: Path, ignored: set[Path]) -> dict[str, Digest]:
    """Digests by name. Links are refused, as is a directory without any file."""
    if model.is_file():
        return {model.name: digest(model)}
    found = {}
    skipped = ignored | {model / name for name in GIT}
    for path in sorted(model.rglob("*")):
        if any(path == s or s in path.parents for s in skipped):
            continue
        if path.is_symlink():
            raise FormatError(f"{path} is a symbolic link")
        if path.is_file():
            found[path.relative_to(model).as_posix()] = digest(path)
    if not found:
        raise FormatError("there is nothing to sign")
    return found


def digest(path: Path) -> Digest:
    return Digest(hashlib.sha256(path.read_bytes()).hexdigest())


def sign(args) -> None:
    signer = KeySigner(load_pem_private_key(args.private_key.read_bytes(), None))
    if args.method == "certificate":
        files = [args.signing_cert, *args.cert_chain]
        chain = [c for f in files for c in x509.load_pem_x509_certificates(f.read_bytes())]
        signer = CertificateSigner(signer, tuple(chain))
    elif args.method != "key":
        raise FormatError("method not offered here")
    files = listed(args.model_path, {*args.ignore_paths, args.output_bundle})
    payload = sign_payload(
        [(parse_relpath(n), d) for n, d in files.items()], signer, args.model_path.name
    )
    args.output_bundle.write_bytes(payload)


def verify(args) -> None:
    now = datetime.now(UTC)
    parts = read(args.bundle.read_bytes())
    if not isinstance(parts.material, MATERIALS[args.method]):
        raise FormatError("another signing method")
    authorities = Authorities(as_of=now)
    if args.method == "key":
        pem = args.public_key.read_bytes()
        pem = pem[pem.index(b"-----BEGIN") :]
        authorities = Authorities(as_of=now, keys={key_id_of(pem): parse_public_key(pem)})
    else:
        roots = [
            c for f in args.cert_chain for c in x509.load_pem_x509_certificates(f.read_bytes())
        ]
        authorities = Authorities(
            as_of=now, certificate_roots=tuple(c.public_bytes(Encoding.DER) for c in roots)
        )
    authentic = authenticate(parts, authorities, now=now, crypto="default")
    header = read_header(authentic.payload)
    if authentic.payload_type != IN_TOTO or header["predicateType"] != MODEL_SIGNING:
        raise FormatError("another payload type or predicate")
    statement = read_model(header)
    if not statement.files:
        raise FormatError("nothing is signed")
    found = listed(args.model_path, {*args.ignore_paths, args.bundle})
    if args.ignore_unsigned_files:
        found = {n: d for n, d in found.items() if n in statement.files}
    if dict(statement.files) != found:
        raise FormatError("the files are not those that were signed")


def main() -> int:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("sign-model", "verify-model"):
        command = commands.add_parser(name)
        command.add_argument("--method", required=True)
        command.add_argument("--model-path", type=Path, required=True)
        command.add_argument("--ignore-paths", type=Path, action="append", default=[])
        command.add_argument("--cert-chain", type=Path, action="append", default=[])
        command.add_argument("--use-staging", action="store_true")
        if name == "sign-model":
            command.add_argument("--output-bundle", type=Path, required=True)
            command.add_argument("--private-key", type=Path)
            command.add_argument("--signing-cert", type=Path)
            command.add_argument("--identity-token")
        else:
            command.add_argument("--bundle", type=Path, required=True)
            command.add_argument("--public-key", type=Path)
            command.add_argument("--identity")
            command.add_argument("--identity-provider")
            command.add_argument("--ignore-unsigned-files", action="store_true")
    args = parser.parse_args()
    try:
        sign(args) if args.command == "sign-model" else verify(args)
    except PratiqueError as error:
        print(f"refused: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
