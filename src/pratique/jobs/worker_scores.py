"""Log-probabilities as the model gave them: before temperature, penalties, bias and masks."""

import base64
from collections.abc import Callable, Mapping
from typing import Final

import torch

from pratique.core.wire import ScoredToken, TokenScore

_LEAST: Final = -9999.0
"""What stands for a probability of zero: JSON has no infinity."""


def score_rows(
    logits: Mapping[int, torch.Tensor],
    asked: Mapping[int, int | None],
    tokens: list[int],
    piece: Callable[[int], tuple[str, bytes]],
) -> dict[int, ScoredToken]:
    """Return, for each row of `asked`, its token's score and those of the likeliest `asked[row]`."""
    scored = {}
    for row, wanted in asked.items():
        logprobs = torch.log_softmax(logits[row], dim=-1)
        best = logprobs.topk(min(wanted or 0, logprobs.shape[0]))
        top = tuple(
            TokenScore(**_token(int(token), float(value), piece))
            for value, token in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        )
        token = tokens[row]
        scored[row] = ScoredToken(**_token(token, float(logprobs[token]), piece), top=top)
    return scored


def _token(
    token: int, logprob: float, piece: Callable[[int], tuple[str, bytes]]
) -> dict[str, str | float]:
    text, data = piece(token)
    return {
        "token": text[:4096],
        "data": base64.b64encode(data[:4096]).decode("ascii"),
        "logprob": min(max(logprob, _LEAST), 0.0) if logprob == logprob else _LEAST,  # noqa: PLR0124 - NaN
    }
