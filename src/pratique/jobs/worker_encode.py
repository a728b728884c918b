"""Embeddings and classification: one pass per batch of texts, equal to what plain transformers gives.

Pooling and normalisation follow the model's own sentence-transformers files (modules.json,
1_Pooling/config.json); without them, the mean over tokens. A module that this does not know is
refused at load: a vector that is quietly another one is worse than none.
"""

import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import BaseModel

from pratique.core.load import Limits, LoadFault, Task
from pratique.core.wire import (
    Beat,
    Classify,
    Embed,
    Failed,
    Fault,
    Label,
    Labels,
    Vectors,
)
from pratique.jobs.worker_channel import Channel
from pratique.jobs.worker_load import LoadedModel
from pratique.jobs.worker_memory import is_out_of_memory, resident
from pratique.jobs.worker_prompts import Refused
from pratique.jobs.worker_refusal import LoadRefused
from pratique.jobs.worker_waiting import Waiting

Pool = Literal["mean", "cls", "max", "lasttoken"]
_POOLS: Final[dict[str, Pool]] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}


# What an answer may hold: a frame of the wire, and memory that the plan did not count.
_MOST_NUMBERS: Final = 12_000_000
_MOST_LABELS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Pooling:
    """How token vectors become one vector."""

    pool: Pool = "mean"
    normalise: bool = False
    longest: int = 0
    lower: bool = False


def read_pooling(directory: Path) -> Pooling:
    """Read a model's sentence-transformers files. Raises LoadRefused for modules not known here."""
    modules = _json(directory / "modules.json")
    if modules is None:
        return Pooling()
    pool: Pool = "mean"
    normalise, longest, lower = False, 0, False
    for module in modules:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        if kind == "Transformer":
            settings = _json(directory / "sentence_bert_config.json") or {}
            longest = int(settings.get("max_seq_length") or 0)
            lower = bool(settings.get("do_lower_case"))
        elif kind == "Pooling":
            pool = _pool(_json(directory / str(module.get("path", "")) / "config.json") or {})
        elif kind == "Normalize":
            normalise = True
        else:
            raise LoadRefused(LoadFault.RUNG_UNSUPPORTED)
    return Pooling(pool, normalise, longest, lower)


def _pool(config: dict[str, Any]) -> Pool:
    named = config.get("pooling_mode")
    chosen = [pool for key, pool in _POOLS.items() if config.get(key)]
    if isinstance(named, str) and named in _POOLS.values():
        chosen = [pool for pool in _POOLS.values() if pool == named]
    if len(chosen) != 1:
        raise LoadRefused(LoadFault.RUNG_UNSUPPORTED)
    return chosen[0]


def _json(path: Path) -> Any:  # noqa: ANN401 - verified files, but still any JSON
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LoadRefused(LoadFault.WEIGHTS_DISAGREE) from error


class _Forgotten(Exception):
    """Nobody waits for the answer."""


class Encoder:
    """Runs one request after another; the texts of a request go through in batches by length.

    Who hangs up before its turn is forgotten; one that runs ends after the batch that is computed.
    """

    def __init__(
        self, loaded: LoadedModel, pooling: Pooling, limits: Limits, channel: Channel
    ) -> None:
        # Spans need to know where tokens stand, which only tokenizers of one kind say.
        if loaded.task is Task.TAG and not getattr(loaded.tokenizer, "is_fast", False):
            raise LoadRefused(LoadFault.RUNG_UNSUPPORTED)
        self._loaded = loaded
        self._pooling = pooling
        self._limits = limits
        self._channel = channel
        self.inbox = Waiting(limits.waiting, channel.send)
        self.context = self._context()

    def _context(self) -> int:
        tokenizer = self._loaded.tokenizer
        lengths = [self._limits.context, self._pooling.longest, self._loaded.context]
        lengths.append(int(min(getattr(tokenizer, "model_max_length", 0) or 0, 2**31)))
        return min(length for length in lengths if length > 0)

    def run(self) -> None:
        """Serve until a Stop was received."""
        steps = 0
        with torch.inference_mode():
            while (item := self.inbox.next()) is not None:
                with contextlib.suppress(_Forgotten):
                    self._channel.send(self._answer(item))
                steps += 1
                now, peak = resident()
                self._channel.send(
                    Beat(
                        running=0,
                        waiting=len(self.inbox),
                        kv_tokens=0,
                        steps=steps,
                        bytes_resident=now,
                        bytes_peak=peak,
                    )
                )

    def _answer(self, request: Embed | Classify) -> BaseModel:
        tokens = isinstance(request, Embed) and request.tokens
        count = len(request.tokens if tokens else request.texts)  # type: ignore[union-attr]  # tokens: Embed
        if not count:
            return Failed(id=request.id, fault=Fault.PROMPT_EMPTY)
        try:
            ids = [list(row) for row in request.tokens] if tokens else self._ids(request.texts)  # type: ignore[union-attr]  # as above
            if failed := self._check(request.id, ids):
                return failed
            if isinstance(request, Embed):
                return self._embed(request.id, ids)
            return self._classify(request.id, ids, request.texts)
        except Refused as refused:
            return Failed(id=request.id, fault=refused.fault, got=refused.got, limit=refused.limit)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return Failed(id=request.id, fault=Fault.OUT_OF_MEMORY)

    def _ids(self, texts: tuple[str, ...]) -> list[list[int]]:
        prepared = [text.lower() if self._pooling.lower else text for text in texts]
        try:
            return [list(row) for row in self._loaded.tokenizer(prepared)["input_ids"]]
        except MemoryError:
            raise
        except Exception as error:  # as in worker_prompts
            raise Refused(Fault.TOKENIZER_REFUSED) from error

    def _check(self, number: int, ids: list[list[int]]) -> Failed | None:
        longest = max(map(len, ids))
        if longest > self.context:
            return Failed(id=number, fault=Fault.PROMPT_TOO_LONG, got=longest, limit=self.context)
        if not all(ids):
            return Failed(id=number, fault=Fault.PROMPT_EMPTY)
        highest = max(max(row) for row in ids)
        if highest >= self._loaded.vocabulary:
            return Failed(
                id=number, fault=Fault.BAD_TOKEN, got=highest, limit=self._loaded.vocabulary
            )
        return None

    def _batches(self, number: int, ids: list[list[int]]) -> Iterator[list[int]]:
        """Yield row numbers by length, so that little is padded and no batch is too large.

        Raises _Forgotten between two of them if nobody waits any more.
        """
        budget = max(self._limits.prefill_tokens, 1) * 4
        groups: list[list[int]] = []
        for at in sorted(range(len(ids)), key=lambda i: len(ids[i])):
            if groups and len(ids[at]) * (len(groups[-1]) + 1) <= budget:
                groups[-1].append(at)
            else:
                groups.append([at])
        for group in groups:
            if not self.inbox.wanted(number):
                raise _Forgotten
            yield group

    def _forward(self, rows: list[list[int]]) -> tuple[Any, torch.Tensor]:
        pad = self._loaded.tokenizer.pad_token_id or 0
        width = max(map(len, rows))
        device = self._loaded.device
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]).to(device)
        return self._loaded.model(input_ids=ids, attention_mask=mask), mask

    def _embed(self, number: int, ids: list[list[int]]) -> Vectors:
        vectors: dict[int, bytes] = {}
        size = 1
        for group in self._batches(number, ids):
            out, mask = self._forward([ids[at] for at in group])
            pooled = pool(out.last_hidden_state.float(), mask, self._pooling)
            size = pooled.shape[1]
            _count(len(ids) * size, _MOST_NUMBERS)
            for at, vector in zip(group, pooled.cpu().numpy().astype("<f4"), strict=True):
                vectors[at] = vector.tobytes()
        return Vectors(
            id=number,
            prompt_tokens=sum(map(len, ids)),
            dimensions=size,
            rows=tuple(base64.b64encode(vectors[at]).decode("ascii") for at in range(len(ids))),
        )

    def _classify(self, number: int, ids: list[list[int]], texts: tuple[str, ...]) -> Labels:
        tag = self._loaded.task is Task.TAG
        if tag:
            _count(sum(map(len, ids)), _MOST_LABELS)
        rows: dict[int, tuple[Label, ...]] = {}
        for group in self._batches(number, ids):
            out, _ = self._forward([ids[at] for at in group])
            if not tag:
                _count(len(ids) * out.logits.shape[-1], _MOST_LABELS)
            for at, logits in zip(group, out.logits.float(), strict=True):
                rows[at] = self._spans(texts[at], logits) if tag else self._whole(logits)
        return Labels(
            id=number,
            prompt_tokens=sum(map(len, ids)),
            rows=tuple(rows[at] for at in range(len(ids))),
        )

    def _whole(self, logits: torch.Tensor) -> tuple[Label, ...]:
        many = getattr(self._loaded.config, "problem_type", None) == "multi_label_classification"
        scores = logits.sigmoid() if many or len(logits) == 1 else logits.softmax(dim=-1)
        ranked = scores.sort(descending=True)
        return tuple(
            Label(label=int(label), score=min(max(float(score), 0.0), 1.0))
            for score, label in zip(ranked.values.tolist(), ranked.indices.tolist(), strict=True)
        )

    def _spans(self, text: str, logits: torch.Tensor) -> tuple[Label, ...]:
        prepared = text.lower() if self._pooling.lower else text
        found = self._loaded.tokenizer(prepared, return_offsets_mapping=True)
        best = logits.softmax(dim=-1).max(dim=-1)
        spans = []
        for (start, end), score, label in zip(
            found["offset_mapping"], best.values.tolist(), best.indices.tolist(), strict=False
        ):
            if end > start:
                spans.append(Label(label=label, score=min(score, 1.0), start=start, end=end))
        return tuple(spans)


def _count(got: int, limit: int) -> None:
    if got > limit:
        raise Refused(Fault.ANSWER_TOO_BIG, got=got, limit=limit)


def pool(hidden: torch.Tensor, mask: torch.Tensor, how: Pooling) -> torch.Tensor:
    """Pool [texts, tokens, size] to [texts, size], padding left out; then normalise if asked to."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    if how.pool == "cls":
        pooled = hidden[:, 0]
    elif how.pool == "max":
        pooled = hidden.masked_fill(weights == 0, float("-inf")).amax(1)
    elif how.pool == "lasttoken":
        pooled = hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
    else:
        pooled = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(pooled, dim=-1) if how.normalise else pooled
