"""python-tuf's client over a carried directory: the judge of versions, thresholds and expiry.

It reads from the medium only and never opens a connection. Its refusals come out as ours, each with
its reason. Imported when a set is installed, not when an installed one is read.
"""

import contextlib
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

from pratique.attest.carried import read_regular
from pratique.attest.tufset import MAX_METADATA_BYTES, REVOKER_PATH
from pratique.errors import StorageError, VerificationRefused


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
