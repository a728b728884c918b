"""Reading what a medium carries: python-tuf's client over a directory, and plain regular files.

Nothing here follows a link, waits on a pipe, reads past a limit or opens a connection. python-tuf's
refusals come out as ours, each with its reason.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from pratique.attest.tufset import MAX_METADATA_BYTES, MAX_ROOTS, REVOKER_PATH, Read
from pratique.errors import StorageError, VerificationRefused


def read_regular(path: Path, limit: int) -> bytes | None:
    """Return a regular file's bytes, or None if it is absent. Never follows a link or waits on a pipe.

    Raises VerificationRefused if it is larger than `limit`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
        data = file.read(limit + 1)
    if len(data) > limit:
        raise VerificationRefused(f"{path.name} in the trust set is larger than {limit} bytes")
    return data


def reader(directory: Path) -> Read:
    """Read files below `directory`."""
    return lambda name, limit: read_regular(directory / name, limit)


def history(metadata: Path) -> Read:
    """Read metadata as python-tuf persists it: roots by version in a folder of their own."""

    def read(name: str, limit: int) -> bytes | None:
        folder = metadata / "root_history" if name.endswith(".root.json") else metadata
        return read_regular(folder / name, limit)

    return read


def newest_root(metadata: Read) -> str:
    """Return the hex SHA-256 of the newest root on a medium, for people to compare."""
    newest = None
    for version in range(1, MAX_ROOTS):
        data = metadata(f"{version}.root.json", MAX_METADATA_BYTES)
        newest = data if data is not None else newest
    if newest is None:
        raise VerificationRefused(
            "there is no trust set here: no metadata/N.root.json",
            hint="give the directory that `pratique trust export` wrote",
        )
    return hashlib.sha256(newest).hexdigest()


def update_metadata(medium: Path, staged: Path, bootstrap: bytes) -> None:
    """Let python-tuf judge versions, thresholds and expiry; leave verified metadata in `staged`."""
    (staged / "metadata").mkdir(exist_ok=True)
    config = UpdaterConfig(
        root_max_length=MAX_METADATA_BYTES,
        timestamp_max_length=MAX_METADATA_BYTES,
        snapshot_max_length=MAX_METADATA_BYTES,
        targets_max_length=MAX_METADATA_BYTES,
        prefix_targets_with_hash=False,
    )
    with _tuf_refusals():
        updater = Updater(
            str(staged / "metadata"),
            f"{medium.resolve().as_uri()}/metadata",
            fetcher=_Medium(),
            config=config,
            bootstrap=bootstrap,
        )
        updater.refresh()
        updater.get_targetinfo(REVOKER_PATH)  # brings the delegated role along, where there is one


class _Medium(FetcherInterface):
    """Reads from the carried directory only, never over a network."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(unquote(urlparse(url).path))
        data = read_regular(path, MAX_METADATA_BYTES + 1)
        if data is None:
            raise DownloadHTTPError(f"{path.name} is absent", 404)
        yield data


@contextlib.contextmanager
def _tuf_refusals() -> Iterator[None]:
    fresh = "ask the enclave's administrators for a fresh copy of the set"
    try:
        yield
    except ExpiredMetadataError as error:
        raise VerificationRefused(
            f"the trust set is stale: {error}", hint="have it signed again: `pratique trust sign`"
        ) from error
    except BadVersionNumberError as error:
        raise VerificationRefused(f"the trust set was rolled back: {error}", hint=fresh) from error
    except UnsignedMetadataError as error:
        raise VerificationRefused(
            f"the trust set is not signed by enough of those who must: {error}",
            hint="`pratique trust status DIR` at the source names who still has to sign",
        ) from error
    except (LengthOrHashMismatchError, DownloadLengthMismatchError) as error:
        raise VerificationRefused(f"the trust set was altered: {error}", hint=fresh) from error
    except DownloadError as error:
        raise VerificationRefused(f"the trust set is incomplete: {error}", hint=fresh) from error
    except (RepositoryError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise VerificationRefused(f"the trust set does not verify: {error}", hint=fresh) from error
    except OSError as error:
        raise StorageError(f"cannot stage the trust set: {error.strerror}") from error
