"""One rule a file; each has a stable id, a section in docs/checks.md and its own tests."""
