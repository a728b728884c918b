"""Fetch: from a Hub, a directory or a cache to a snapshot in quarantine."""
