"""Whatever is done to a log, a checkpoint kept elsewhere shows it; and trees keep their promises."""

import json
import shutil
from contextlib import suppress

import pytest
import rfc8785
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pratique.errors import FormatError, PratiqueError
from pratique.ledger import merkle
from pratique.ledger import offline_verifier as offline
from pratique.ledger.copies import from_paper, on_paper
from pratique.ledger.folder import Folder
from pratique.ledger.note import Checkpoint, LogKey, parse_checkpoint, sign_note
from pratique.ledger.proof import prove
from pratique.ledger.record import Chain, canonical, parse, render
from pratique.ledger.verify import State, verify
from tests.support.ledgers import HEX, open_log, private_key, request, write_log

EVENTS = 24
SIZE = 20  # of the checkpoint kept elsewhere: four events came after it


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """An honest log in several segments, and the checkpoint that somebody else kept."""
    root = tmp_path_factory.mktemp("honest") / "log"
    write_log(root, SIZE - 2, checkpoint_events=7, segment_bytes=14_000)
    with open_log(root, checkpoint_events=7, segment_bytes=14_000) as log:
        while log.size < SIZE:
            log.append(request(log.size))
        note = log.checkpoint()
        while log.size < EVENTS:
            log.append(request(log.size))
    assert verify(Folder(root), elsewhere=[note]).state is State.INTACT
    return root, note


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


def copied(honest, workplace):
    target = workplace / "log"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(honest[0], target)
    for path in target.rglob("*"):
        path.chmod(0o700)
    return Folder(target)


def read(folder):
    return [line for s in folder.segments() for line in s.path.read_bytes().splitlines(True)]


def put(folder, lines):
    """Spread lines over the segments as a careful forger would: as many in each as before."""
    rest = list(lines)
    for segment in folder.segments():
        count = len(segment.path.read_bytes().splitlines())
        segment.path.write_bytes(b"".join(rest[:count]))
        rest = rest[count:]
    with folder.segments()[-1].path.open("ab") as file:
        file.write(b"".join(rest))


many = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
numbers = st.integers(0, SIZE - 1)


def assert_found(folder, note):
    report = verify(folder, elsewhere=[note])
    assert not report.stands, report
    return report


@many
@given(data=st.data())
def test_any_flipped_bit_is_found(honest, workplace, data):
    folder = copied(honest, workplace)
    segment = data.draw(st.sampled_from(folder.segments()))
    content = bytearray(segment.path.read_bytes())
    assume(content)
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    segment.path.write_bytes(bytes(content))
    assert_found(folder, honest[1])


@many
@given(number=numbers)
def test_any_deletion_is_found(honest, workplace, number):
    folder = copied(honest, workplace)
    lines = read(folder)
    put(folder, lines[:number] + lines[number + 1 :])
    assert assert_found(folder, honest[1]).state is State.EDITED


@many
@given(number=numbers, source=numbers)
def test_any_insertion_is_found(honest, workplace, number, source):
    folder = copied(honest, workplace)
    lines = read(folder)
    put(folder, [*lines[:number], lines[source], *lines[number:]])
    assert assert_found(folder, honest[1]).state is State.EDITED


@many
@given(order=st.permutations(range(SIZE)))
def test_any_reordering_is_found(honest, workplace, order):
    assume(list(order) != list(range(SIZE)))
    folder = copied(honest, workplace)
    lines = read(folder)
    put(folder, [lines[i] for i in order] + lines[SIZE:])
    assert assert_found(folder, honest[1]).state is State.EDITED


@many
@given(left=st.integers(0, SIZE - 1), torn=st.integers(0, 200), clean=st.booleans())
def test_any_truncation_is_found(honest, workplace, left, torn, clean):
    folder = copied(honest, workplace)
    lines = read(folder)
    for segment in folder.segments():
        if segment.first > left:
            segment.path.unlink()
    *_, last = folder.segments()
    last.path.write_bytes(b"".join(lines[last.first : left]) + lines[left][:torn])
    if clean:  # the forger removes the checkpoints that tell of it
        for size in folder.checkpoint_sizes():
            if size > left:
                (folder.checkpoints_dir / f"{size:020d}").unlink()
    report = assert_found(folder, honest[1])
    assert (report.state, report.at) == (State.TRUNCATED, left)


def chain_of(folder):
    key = folder.key()
    return Chain(key.name, key.key_id.hex())


def forged_from(lines, number, chain):
    """A consistent history that differs from event `number` on: links and fingerprints made anew."""
    made = list(lines[:number])
    previous = parse(made[-1][:-1], chain).fingerprint if made else ""
    for i in range(number, len(lines)):
        line, previous = render(
            request(i, status=404), number=i, previous=previous, time_ms=1, chain=chain
        )
        made.append(line + b"\n")
    return made


@many
@given(number=numbers, clean=st.booleans())
def test_any_rewriting_is_found(honest, workplace, number, clean):
    folder = copied(honest, workplace)
    put(folder, forged_from(read(folder), number, chain_of(folder)))
    if clean:
        for size in folder.checkpoint_sizes():
            if size > number:
                (folder.checkpoints_dir / f"{size:020d}").unlink()
    report = assert_found(folder, honest[1])
    assert report.state in {State.REWRITTEN, State.FORKED}
    assert (report.at or 0) > number


@many
@given(number=numbers)
def test_any_fork_by_the_holder_of_the_key_is_found(honest, workplace, number):
    """The forger has the key: every checkpoint and base here is made anew and verifies."""
    folder = copied(honest, workplace)
    lines = forged_from(read(folder), number, chain_of(folder))
    put(folder, lines)
    key, tree = folder.key(), merkle.Frontier()
    sizes, firsts = set(folder.checkpoint_sizes()), {s.first: s for s in folder.segments()}
    for i in range(len(lines) + 1):
        if i in sizes:
            head = Checkpoint(key.name, i, tree.root())
            note = sign_note(head.text(), key.name, private_key())
            (folder.checkpoints_dir / f"{i:020d}").write_bytes(note)
        if i in firsts and i:
            peaks = [peak.hex() for peak in tree.peaks]
            table = {"peaks": peaks, "previous": "", "size": i}
            firsts[i].base_path.write_bytes(canonical(table))
        if i < len(lines):
            tree.append(merkle.leaf_hash(lines[i][:-1]))
    assert verify(folder).state is State.INTACT
    report = assert_found(folder, honest[1])
    assert (report.state, report.at) == (State.FORKED, SIZE)


@many
@given(
    junk=st.binary(max_size=300), where=st.sampled_from(["segment", "base", "checkpoint", "vkey"])
)
def test_verify_never_raises_anything_but_our_own_errors(honest, workplace, junk, where):
    folder = copied(honest, workplace)
    path = {
        "segment": folder.segments()[0].path,
        "base": folder.segments()[-1].base_path,
        "checkpoint": folder.checkpoints_dir / f"{SIZE:020d}",
        "vkey": folder.root / "log.vkey",
    }[where]
    path.write_bytes(junk)
    try:
        report = verify(folder, elsewhere=[honest[1]])
    except PratiqueError:
        return
    assert not report.stands or where == "base"  # nothing reads a base while its segments are there


@many
@given(number=numbers, data=st.data())
def test_proofs_hold_and_any_change_breaks_them(honest, number, data):
    proof = prove(Folder(honest[0]), number)
    assert offline.check(proof, None)[0] == number
    text = json.dumps(proof, ensure_ascii=False)
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from('0123456789abcdef"{}:, \n'))
    bent = text[:at] + letter + text[at + 1 :]
    try:
        same = json.loads(bent) == proof
    except ValueError:
        return
    if same:
        return
    with pytest.raises(offline.Refused):
        offline.check(json.loads(bent), str(proof["key"]))


# --- trees ---------------------------------------------------------------------------------------------


@given(st.data())
@settings(deadline=None)
def test_inclusion_and_consistency_for_trees_of_any_size(data):
    new = data.draw(st.integers(1, 200))
    old = data.draw(st.integers(1, new))
    index = data.draw(st.integers(0, new - 1))
    leaves = [merkle.leaf_hash(bytes([i])) for i in range(new)]
    hash_of = merkle.subtrees(merkle.Frontier(), leaves)
    root = merkle.root_of(leaves)
    path = merkle.inclusion_proof(hash_of, index, new)
    assert merkle.verify_inclusion(leaves[index], index, new, path, root)
    assert offline.root_from_path(leaves[index], index, new, path) == root
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"x" * 9), index, new, path, root)
    proof = merkle.consistency_proof(hash_of, old, new)
    assert merkle.verify_consistency(old, merkle.root_of(leaves[:old]), new, root, proof)
    other = merkle.root_of([merkle.leaf_hash(b"other"), *leaves[1:old]])
    assert not merkle.verify_consistency(old, other, new, root, proof)


@given(st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoints_round_trip_on_the_wire_and_on_paper(size, root):
    key = LogKey("pratique/ledger/p", private_key().public_key().public_bytes_raw())
    head = Checkpoint(key.name, size, root)
    note = sign_note(head.text(), key.name, private_key())
    assert parse_checkpoint(head.text()) == head
    assert key.open(note) == head
    assert from_paper(on_paper(note)) == note


@given(st.text(max_size=200))
def test_parsing_a_checkpoint_never_raises_anything_else(text):
    with suppress(FormatError):
        assert parse_checkpoint(text).text() == text


# --- canonical lines -------------------------------------------------------------------------------------

printable = st.text(max_size=60).filter(str.isprintable)
counts = st.integers(0, 2**53 - 1)


@given(
    st.fixed_dictionaries(
        {
            "caller": printable,
            "route": printable,
            "prompt_tokens": counts.map(lambda n: n // 2),
            "completion_tokens": counts.map(lambda n: n // 2),
            "latency_us": counts,
            "streamed": st.booleans(),
            "entities": st.dictionaries(st.sampled_from(["EMAIL", "CARD", "IP"]), counts),
        }
    )
)
@settings(deadline=None)
def test_every_request_is_canonical_and_comes_back(fields):
    chain = Chain("pratique/ledger/p", "01234567")
    line, fingerprint = render(request(0, **fields), number=5, previous=HEX, time_ms=1, chain=chain)
    assert b"\n" not in line
    assert rfc8785.dumps(json.loads(line)) == line
    record = parse(line, chain)
    assert record.fingerprint == fingerprint
    assert fields.items() <= record.fields.items()
