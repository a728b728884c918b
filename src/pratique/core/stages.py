"""How far a look at a repository goes: each stage needs more bytes than the one before."""

import enum


class Stage(enum.IntEnum):
    """Stages of vetting, in the order in which `fetch` can afford them."""

    LISTING = 1
    """Names, sizes, kinds. No file content."""
    CODE_AND_CONFIG = 2
    """Small text files: configuration, code, card, licence, templates."""
    HEADERS = 3
    """The heads of weight files (safetensors headers and the like)."""
    TOKENIZER = 4
    """Vocabularies, merges, tokenizer models."""
    CONTENT = 5
    """Every byte of every file."""
