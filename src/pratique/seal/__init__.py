"""VettedSnapshot → staging → manifest → signature → one rename → SealedBundle."""
