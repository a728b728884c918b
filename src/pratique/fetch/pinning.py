"""From a name to a commit with a proved listing: everything that is known before the first file.

With git at hand the listing is what git's trees say. Without, the policy decides whether the API's
word is enough (`fetch.commit_proof`).
"""

from dataclasses import dataclass

from pratique.attest.commit_proof import ProofObjects
from pratique.core.ids import CommitSha, RepoId
from pratique.core.policy import Policy
from pratique.errors import FetchError, FormatError
from pratique.fetch.api import (
    Item,
    ListingAnswer,
    RenamedRepository,
    RepoInfo,
    list_files,
    repo_info,
)
from pratique.fetch.errors import gated
from pratique.fetch.git_objects import NoGit, fetch_blobs, fetch_commit_objects
from pratique.fetch.listing import cross_check
from pratique.fetch.session import HubSession


@dataclass(frozen=True, slots=True)
class HubRequest:
    """What to fetch. `revision` None is the default branch; patterns are for `plan.selector`."""

    repo: RepoId
    revision: str | None = None
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As the user would type it."""
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


@dataclass(frozen=True, slots=True)
class Pinned:
    """A repository at one commit with its listing, before any file."""

    request: HubRequest
    info: RepoInfo
    listing: ListingAnswer
    proof: ProofObjects | None
    renamed_from: RepoId | None = None

    @property
    def repo(self) -> RepoId:
        """The repository as it is called now."""
        return self.info.repo

    @property
    def commit(self) -> CommitSha:
        """The commit everything is pinned to."""
        return self.info.commit

    @property
    def items(self) -> tuple[Item, ...]:
        """Every file of the commit."""
        return self.listing.items


def resolve(session: HubSession, request: HubRequest, policy: Policy) -> tuple[RepoInfo, bool]:
    """Pin the request to a commit. Follows one rename, where the policy accepts it."""
    try:
        return repo_info(session, request.repo, request.revision), False
    except RenamedRepository as renamed:
        if policy.fetch.renamed_repositories != "accept":
            raise
        return repo_info(session, renamed.new, request.revision), True


def pin(session: HubSession, request: HubRequest, policy: Policy) -> Pinned:
    """Resolve, list and prove. Guarantees that list and git agree, or that the policy needs no git.

    Raises FetchError.
    """
    info, renamed = resolve(session, request, policy)
    return pin_commit(session, request, info, policy, renamed=renamed)


def pin_commit(
    session: HubSession, request: HubRequest, info: RepoInfo, policy: Policy, *, renamed: bool
) -> Pinned:
    """List and prove what `resolve` found."""
    listing = list_files(session, info.repo, info.commit)
    proof = _prove(session, info, listing, policy)
    return Pinned(request, info, listing, proof, request.repo if renamed else None)


def _prove(
    session: HubSession, info: RepoInfo, listing: ListingAnswer, policy: Policy
) -> ProofObjects | None:
    try:
        objects = fetch_commit_objects(session, info.repo, info.commit)
        proof = ProofObjects.of(objects, info.commit)
        return cross_check(listing.items, proof, lambda ids: fetch_blobs(session, info.repo, ids))
    except NoGit as error:
        if info.claims.get("gated") and not session.has_token:
            raise gated(info.repo, session.endpoint.base) from error
        if policy.fetch.commit_proof == "required":
            raise FetchError(
                f"{session.endpoint.base} offers no git access to {info.repo}, so commit "
                f"{info.commit} cannot be proved",
                hint="the policy requires a commit proof; fetch from a Hub with git, or use a "
                'policy with fetch.commit_proof = "reported"',
            ) from error
        return None
    except FormatError as error:
        raise FetchError(
            f"the git objects of {info.repo}@{info.commit[:8]} are refused: {error.message}",
            hint="the server is wrong or lies; nothing was taken from it",
        ) from error
