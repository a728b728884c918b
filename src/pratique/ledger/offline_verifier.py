"""Check the proof of one ledger event, anywhere: this file, Python 3.8+ and `cryptography` suffice.

    python offline_verifier.py PROOF.json --key 'NAME+KEYID+BASE64'

PROOF.json is what `pratique log prove N` wrote; the key is the log's, got by another way than the
proof (without --key, the proof's own key is used, and the answer says so). The rules: every field is
checked for its form, the checkpoint's Ed25519 signature (C2SP signed-note, tlog-checkpoint) is
verified, and the event's line must lead along the path (RFC 6962, section 2.1.1) to the signed root.
Exit code: 0 proved, 11 refused, 5 unreadable.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SCHEMA = "pratique.ledger.proof/v1"
FIELDS = {"schema", "number", "event", "path", "checkpoint", "key"}
MAX_BYTES = 1 << 20


class Refused(Exception):
    """The proof does not hold."""


def refuse_unless(condition: object, why: str) -> None:
    """Raise Refused unless the condition holds."""
    if not condition:
        raise Refused(why)


def unambiguous(pairs: "list[tuple[str, object]]") -> "dict[str, object]":
    """Make an object of its members; one name given twice would mean two things to two readers."""
    found = dict(pairs)
    refuse_unless(len(found) == len(pairs), "a name stands twice in one object")
    return found


def unbase64(text: str) -> bytes:
    """Decode canonical base64."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refused("malformed base64") from error
    refuse_unless(base64.b64encode(raw).decode() == text, "base64 not in canonical form")
    return raw


def parse_key(vkey: str) -> "tuple[str, bytes, bytes]":
    """Return (name, key id, public key) of a verification key."""
    parts = vkey.strip().split("+", 2)
    refuse_unless(len(parts) == 3, "the key is not NAME+KEYID+BASE64")
    raw = unbase64(parts[2])
    refuse_unless(raw[:1] == b"\x01" and len(raw) == 33, "the key is not an Ed25519 key")
    key_id = hashlib.sha256(parts[0].encode() + b"\n" + raw).digest()[:4]
    refuse_unless(key_id.hex() == parts[1], "the key does not match its key id")
    return parts[0], key_id, raw[1:]


def open_checkpoint(note: str, vkey: str) -> "tuple[int, bytes]":
    """Verify a signed checkpoint; return its size and root."""
    name, key_id, public = parse_key(vkey)
    text, _, tail = note.rpartition("\n\n")
    lines = text.split("\n")
    refuse_unless(len(lines) == 3 and tail.endswith("\n"), "the checkpoint is malformed")
    refuse_unless(lines[0] == name, "the checkpoint is another log's")
    refuse_unless(
        lines[1].isascii() and lines[1].isdigit() and str(int(lines[1])) == lines[1],
        "the checkpoint's size is malformed",
    )
    verified = False
    for line in tail[:-1].split("\n"):
        dash, signer, encoded = [*line.split(" "), "", ""][:3]
        if dash != "—" or signer != name:
            continue
        raw = unbase64(encoded)
        if raw[:4] != key_id:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], (text + "\n").encode())
        except InvalidSignature as error:
            raise Refused("the checkpoint's signature does not verify") from error
        verified = True
    refuse_unless(verified, "the checkpoint has no signature by this key")
    root = unbase64(lines[2])
    refuse_unless(len(root) == 32, "the checkpoint's root is malformed")
    return int(lines[1]), root


def root_from_path(leaf: bytes, index: int, size: int, path: "list[bytes]") -> "bytes | None":
    """Fold an audit path to the root; None if it has the wrong length (RFC 9162, 2.1.3.2)."""
    node, last, head = index, size - 1, leaf
    for step in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            head = hashlib.sha256(b"\x01" + step + head).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            head = hashlib.sha256(b"\x01" + head + step).digest()
        node, last = node >> 1, last >> 1
    return head if last == 0 else None


def check(proof: object, vkey: "str | None") -> "tuple[int, int, str]":
    """Check a proof; return (number, size, event line). Raises Refused."""
    refuse_unless(isinstance(proof, dict) and set(proof) == FIELDS, "not a proof of this format")
    assert isinstance(proof, dict)
    refuse_unless(proof["schema"] == SCHEMA, "a proof of another version")
    number, event, path = proof["number"], proof["event"], proof["path"]
    texts = [event, proof["checkpoint"], proof["key"]]
    refuse_unless(type(number) is int and all(isinstance(t, str) for t in texts), "wrong types")
    refuse_unless(isinstance(path, list) and len(path) <= 64, "the path is malformed")
    try:
        steps = [bytes.fromhex(step) for step in path]
    except (TypeError, ValueError) as error:
        raise Refused("the path is malformed") from error
    refuse_unless(all(len(step) == 32 for step in steps), "the path is malformed")
    refuse_unless(vkey is None or proof["key"] == vkey.strip(), "the proof brings another key")
    size, root = open_checkpoint(proof["checkpoint"], proof["key"])
    refuse_unless(0 <= number < size, "the event's number is not in the tree")
    refuse_unless("\n" not in event, "the event is not one line")
    leaf = hashlib.sha256(b"\x00" + event.encode("utf-8")).digest()
    refuse_unless(
        root_from_path(leaf, number, size, steps) == root, "the event is not in the signed tree"
    )
    return number, size, event


def main(arguments: "list[str] | None" = None) -> int:
    """Read the command line, print the answer, return the exit code."""
    parser = argparse.ArgumentParser(description="Check the proof of one ledger event.")
    parser.add_argument("proof", help="the file that `pratique log prove N` wrote; - for stdin")
    parser.add_argument("--key", help="the log's verification key, got by another way")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.proof == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(chosen.proof).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        refuse_unless(len(data) <= MAX_BYTES, "the proof is too long")
        proof = json.loads(data.decode("utf-8"), object_pairs_hook=unambiguous)
    except (OSError, ValueError, RecursionError, Refused) as error:
        sys.stderr.write(f"unreadable: {type(error).__name__}: {chosen.proof!a}\n")
        return 5
    try:
        number, size, event = check(proof, chosen.key)
        shown = json.dumps(json.loads(event, object_pairs_hook=unambiguous), ensure_ascii=True)
    except (Refused, ValueError, RecursionError) as error:
        sys.stderr.write(f"refused: {error}\n" if isinstance(error, Refused) else "refused\n")
        return 11
    name = parse_key(chosen.key or proof["key"])[0]
    sys.stdout.write(f"proved: event {number} of {size} in the log {name!a}\n{shown}\n")
    if not chosen.key:
        sys.stderr.write("under the key that came with the proof: compare it with the log's own\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
