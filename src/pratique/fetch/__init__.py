"""Fetch: from a Hub, a directory or a cache to a snapshot in quarantine.

What others may rely on::

    hub_session(endpoint: Endpoint, *, tls=None, timeout=60.0, patience=None) -> context of HubSession
    HubFetch(session, home, policy, gate, progress, into).run(HubRequest(repo, revision)) -> Snapshot
    LocalFetch(home=…, policy=…, gate=…).run(source) -> Snapshot
        directory_source(path, name=None), cache_source(path) -> context of LocalSource
    pin(session, request, policy) -> Pinned            commit, listing and proof; no file
    GateRefused (exit 10), GateWantsApproval (exit 13): `.verdict`, `.stage`, `.kept`

`flows.fetching.fetch` puts these together from what a user typed. Everything else is private.
"""
