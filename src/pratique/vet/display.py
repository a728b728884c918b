"""Names from a repository as they may be shown: printable, one line, never ambiguous."""


def displayed(path: str) -> str:
    """Return `path` with undecodable bytes and unprintable characters escaped."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
