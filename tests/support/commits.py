"""A git commit of a flat set of files, as `fetch` leaves it under `provenance/git`."""

from pathlib import Path

from pratique.core.ids import CommitSha
from pratique.formats.git import object_id


def write_commit(provenance: Path, files: dict[str, bytes], when: int = 1_700_000_000) -> CommitSha:
    """Write the commit and tree of `files` (top level only) and return the commit's id."""
    entries = b"".join(
        b"100644 %s\0%s" % (name.encode(), bytes.fromhex(object_id("blob", data)))
        for name, data in sorted(files.items())
    )
    tree = object_id("tree", entries)
    person = f"Ada Author <ada@example.org> {when} +0000".encode()
    body = b"tree %s\nauthor %s\ncommitter %s\n\nA tiny model\n" % (tree.encode(), person, person)
    (provenance / "git/trees").mkdir(parents=True)
    (provenance / "git/commit").write_bytes(body)
    (provenance / "git/trees" / tree).write_bytes(entries)
    return CommitSha(object_id("commit", body))
