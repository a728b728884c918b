"""Log-probabilities in OpenAI's forms."""

import base64
from typing import Any

from pratique.core.wire import ScoredToken, TokenScore


def chat_scores(scores: list[ScoredToken]) -> dict[str, Any] | None:
    """Return scores as chat completions have them."""
    if not scores:
        return None
    return {
        "content": [
            {**_token(score), "top_logprobs": [_token(other) for other in score.top]}
            for score in scores
        ],
        "refusal": None,
    }


def text_scores(scores: list[ScoredToken]) -> dict[str, Any] | None:
    """Return scores as text completions have them; offsets count from where the answer begins."""
    if not scores:
        return None
    return {
        "tokens": [s.token for s in scores],
        "token_logprobs": [s.logprob for s in scores],
        "top_logprobs": [_likeliest(score) for score in scores],
        "text_offset": [s.offset for s in scores],
    }


def _likeliest(score: ScoredToken) -> dict[str, float]:
    """Return the alternatives by their text: of several that read alike (U+FFFD) the likeliest."""
    found: dict[str, float] = {}
    for other in score.top:
        found.setdefault(other.token, other.logprob)
    return found


def _token(score: TokenScore) -> dict[str, Any]:
    return {
        "token": score.token,
        "logprob": score.logprob,
        "bytes": list(base64.b64decode(score.data)),
    }
