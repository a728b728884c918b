"""One view of a tokenizer, parsed strictly from each form in which it comes.

Nothing here imports a tokenizer library or runs repository code: bytes and already parsed JSON in,
frozen values out. What a form *means* together with the others is for `pratique.vet` to judge.
"""

from pratique.formats.tokenizer.ranks import parse_tekken, parse_tiktoken
from pratique.formats.tokenizer.sentencepiece import parse_sentencepiece
from pratique.formats.tokenizer.settings import (
    SpecialTokens,
    parse_added_tokens,
    parse_special_tokens,
    parse_tokenizer_config,
)
from pratique.formats.tokenizer.tables import parse_vocab_json, parse_vocab_txt
from pratique.formats.tokenizer.unified import parse_tokenizer_json
from pratique.formats.tokenizer.view import AddedToken, ModelKind, Piece, Pipeline, Vocabulary

__all__ = [
    "AddedToken",
    "ModelKind",
    "Piece",
    "Pipeline",
    "SpecialTokens",
    "Vocabulary",
    "parse_added_tokens",
    "parse_sentencepiece",
    "parse_special_tokens",
    "parse_tekken",
    "parse_tiktoken",
    "parse_tokenizer_config",
    "parse_tokenizer_json",
    "parse_vocab_json",
    "parse_vocab_txt",
]
