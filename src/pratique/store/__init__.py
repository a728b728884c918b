"""What is on disk: quarantine, and the content-addressed store. Hash while copying, read-only afterwards."""
