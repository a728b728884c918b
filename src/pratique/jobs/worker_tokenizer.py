"""After loading: the tokenizer that was loaded is the one that was sealed, id for id.

The gate vetted `tokenizer.json`; the libraries read it with code of their own, lay further files over
it, and may convert. So the loaded map is compared with a strict parse of the verified file: every
token has its sealed id, nothing else took one of those ids, and every id has an embedding row.
"""

from pathlib import Path
from typing import Any, Final

from pratique.errors import FormatError
from pratique.formats import json_strict
from pratique.formats.tokenizer import parse_tokenizer_json

_NAME: Final = "tokenizer.json"


def is_as_sealed(tokenizer: Any, directory: Path, rows: int) -> bool:  # noqa: ANN401 - transformers
    """Compare the loaded tokenizer with the file in `directory`; `rows` is the input embedding's.

    True where there is no tokenizer.json: then the library converted another form, whose ids the
    gate compared with the embeddings and nothing here can compare again.
    """
    path = directory / _NAME
    if not path.is_file():
        return True
    try:
        value = json_strict.parse(path.read_bytes(), json_strict.VOCABULARY)
        sealed = parse_tokenizer_json(value).ids()
    except (FormatError, OSError):
        return False
    loaded: dict[str, int] = tokenizer.get_vocab()
    if any(loaded.get(text) != number for text, number in sealed.items()):
        return False
    taken = set(sealed.values())
    # Libraries add fillers of their own (T5's <extra_id_…>) above the sealed ids.
    if any(number in taken for text, number in loaded.items() if text not in sealed):
        return False
    return max(taken, default=-1) < rows
