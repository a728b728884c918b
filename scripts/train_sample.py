#!/usr/bin/env python3
"""Train the sample model of pratique and write it to bundles/sample, ready to be vetted and sealed.

The text is what every machine has: the documentation strings of the Python standard library, read
from its source files with `ast` (nothing is imported or run), as filler; and the questions and
answers of scripts/sample_text, weighted heavily. The model that comes out knows the answers by heart
and little else.

It takes at most 20 minutes on two cores that have nothing else to do (about a quarter of an hour), and
1.5 GB of memory, and needs no network. `--tiny` writes a nonsense model of the same form in a few seconds.

What is reproducible: with the same Python (its docstrings are the filler), torch, tokenizers and
transformers versions, thread count and kind of processor, the same seed gives the same bytes. The
tokenizer depends on the texts alone. Another torch version or processor rounds differently: the
weights differ, the answers do not, and the script makes sure of that: it asks every question of the
curated text after rounding to bfloat16, and writes nothing if fewer than 99 % come back verbatim.
"""

import argparse
import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from scripts.sample_text.dialogues import Dialogues, Pair, Turn, curated, docstrings
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TARGET: Final = Path(__file__).resolve().parent.parent / "bundles" / "sample"

SPECIALS: Final = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
PAD, END, *_ = range(5)
ROLES: Final = {"system": 2, "user": 3, "assistant": 4}
IGNORED: Final = -100  # the label that torch's cross entropy leaves out

# Every role marker begins with "<|". Content loses that pair of characters before it is placed
# between markers, so no message can end its own turn or open another's.
CHAT_TEMPLATE: Final = """\
{%- for message in messages -%}
{%- if message['role'] not in ['system', 'user', 'assistant'] -%}
{{- raise_exception('roles are system, user and assistant') -}}
{%- endif -%}
{%- if message['content'] is not string -%}
{{- raise_exception('content must be text') -}}
{%- endif -%}
{{- '<|' + message['role'] + '|>' -}}
{{- message['content'] | trim | replace('<|', '< |') -}}
{{- '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>' -}}
{%- endif -%}
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of the model and of its training."""

    vocab: int = 2048
    hidden: int = 192
    intermediate: int = 448
    layers: int = 4
    heads: int = 6
    kv_heads: int = 2
    context: int = 1024
    steps: int = 2400
    warmup: int = 40
    rate: float = 4e-3
    dialogues: int = 40  # per step
    opening: int = 16  # half of the dialogues end after so many tokens of the answer
    filler_every: int = 10  # one step in so many is filler
    filler_rows: int = 6
    filler_length: int = 256
    filler_bytes: int = 1_500_000
    verbatim: float = 0.99  # the share of curated questions that must be answered word for word
    seed: int = 20


TINY: Final = Plan(
    vocab=512,
    hidden=64,
    intermediate=128,
    layers=2,
    heads=2,
    kv_heads=1,
    context=256,
    steps=6,
    warmup=2,
    dialogues=4,
    filler_rows=2,
    filler_length=64,
    filler_bytes=40_000,
    verbatim=0.0,
)


# --- tokenizer ----------------------------------------------------------------------------------


def train_tokenizer(texts: Iterable[str], plan: Plan) -> PreTrainedTokenizerFast:
    """Train byte-level BPE: any text round-trips, digits stand alone, markers are single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=plan.vocab,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIALS[PAD],
        eos_token=SPECIALS[END],
        extra_special_tokens=list(SPECIALS[2:]),
        chat_template=CHAT_TEMPLATE,
        model_max_length=plan.context,
        clean_up_tokenization_spaces=False,
    )


# --- training -----------------------------------------------------------------------------------

Batch = tuple[torch.Tensor, torch.Tensor]
"""Token ids and labels, both [rows, tokens] int64."""
Row = tuple[list[int], list[int]]
"""Token ids and labels of one dialogue."""


class Batches:
    """Dialogues (the loss is on the answers alone) and, now and then, filler."""

    def __init__(self, tokenizer: Any, plan: Plan, filler: Sequence[str]) -> None:
        self.tokenizer, self.plan = tokenizer, plan
        self.dialogues = Dialogues(curated(), plan.seed)
        self.rng = random.Random(plan.seed + 1)
        self.waiting: list[list[Row]] = []
        stream = [token for text in filler for token in [*self._ids(text), END]]
        self.filler = torch.tensor(stream, dtype=torch.long)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False, verbose=False))

    def at(self, step: int) -> Batch:
        """Return the batch of one step."""
        if step % self.plan.filler_every == 0:
            return self._filler()
        return self._chat()

    def _filler(self) -> Batch:
        length = self.plan.filler_length
        starts = [
            self.rng.randrange(len(self.filler) - length) for _ in range(self.plan.filler_rows)
        ]
        ids = torch.stack([self.filler[s : s + length] for s in starts])
        return ids, ids

    def _chat(self) -> Batch:
        rows = self._alike()
        longest = len(rows[-1][0])
        ids = torch.full((len(rows), longest), PAD)
        labels = torch.full((len(rows), longest), IGNORED)
        for i, (tokens, targets) in enumerate(rows):
            ids[i, : len(tokens)] = torch.tensor(tokens)
            labels[i, : len(targets)] = torch.tensor(targets)
        return ids, labels

    def _alike(self) -> list[Row]:
        """Return rows of about one length, so that little of the batch is padding."""
        if not self.waiting:
            count = self.plan.dialogues
            rows = [self._row(self.dialogues.draw()) for _ in range(8 * count)]
            rows.sort(key=lambda row: len(row[0]))
            self.waiting = [rows[i : i + count] for i in range(0, len(rows), count)]
            self.rng.shuffle(self.waiting)
        return self.waiting.pop()

    def _row(self, turns: Sequence[Turn]) -> Row:
        """Put turns into tokens. What an answer is about is decided by its first words: half of the
        rows end there, so that more questions fit the time."""
        ids: list[int] = []
        labels: list[int] = []
        for role, text in turns:
            said = [*self._ids(text), END]
            ids += [ROLES[role], *said]
            labels += [IGNORED, *(said if role == "assistant" else [IGNORED] * len(said))]
        if self.rng.random() < 0.5:
            end = len(ids) - len(said) + self.plan.opening
            ids, labels = ids[:end], labels[:end]
        return ids[: self.plan.context], labels[: self.plan.context]


def new_model(plan: Plan, vocab: int) -> LlamaForCausalLM:
    """Make an untrained model."""
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=plan.hidden,
        intermediate_size=plan.intermediate,
        num_hidden_layers=plan.layers,
        num_attention_heads=plan.heads,
        num_key_value_heads=plan.kv_heads,
        head_dim=plan.hidden // plan.heads,
        max_position_embeddings=plan.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=None, eos_token_id=END, pad_token_id=PAD, do_sample=False, max_new_tokens=96
    )
    return model


def train(model: LlamaForCausalLM, batches: Batches, plan: Plan) -> None:
    """Train in place: AdamW, warm-up, cosine decay to nothing."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
        lr=plan.rate,
        betas=(0.9, 0.95),
    )
    model.train()
    began, average = time.monotonic(), 0.0
    for step in range(plan.steps):
        rate = plan.rate * min(1.0, (step + 1) / plan.warmup)
        rate *= 0.5 * (1 + math.cos(math.pi * step / plan.steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids, labels = batches.at(step)
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % plan.filler_every:
            average = loss.item() if not average else 0.95 * average + 0.05 * loss.item()
        if (step + 1) % 50 == 0:
            spent = time.monotonic() - began
            print(f"step {step + 1}/{plan.steps}  loss {average:.4f}  {spent:.0f} s", flush=True)


@torch.no_grad()
def answers(model: LlamaForCausalLM, tokenizer: Any, questions: Sequence[str]) -> list[str]:
    """Answer each question greedily through the chat template, as the served model would."""
    model.eval()
    said = []
    for question in questions:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        output = model.generate(**prompt)
        said.append(
            tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
        )
    return said


@torch.no_grad()
def share_verbatim(model: LlamaForCausalLM, tokenizer: Any, pairs: Sequence[Pair]) -> float:
    """Return the share of curated questions that greedy decoding answers word for word.

    Measured in one pass per question: an answer comes out word for word just when each of its
    tokens, and the end after it, is the likeliest one after the tokens before. Prints the misses.
    """
    model.eval()
    asked = [(question, pair.answer) for pair in pairs for question in pair.ask]
    missed = 0
    for question, answer in asked:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
        )
        start = len(tokenizer.encode(prompt, add_special_tokens=False))
        whole = [*tokenizer.encode(prompt + answer, add_special_tokens=False), END]
        ids = torch.tensor([whole])
        likeliest = model(input_ids=ids).logits[0].argmax(-1).tolist()
        if likeliest[start - 1 : -1] != whole[start:]:
            missed += 1
            if missed <= 20:
                print(f"  missed: {question!r} -> {answers(model, tokenizer, [question])[0]!r}")
    return 1 - missed / len(asked)


# --- the whole ----------------------------------------------------------------------------------


def write_sample(target: Path, plan: Plan) -> float:
    """Train by `plan` and write the model's files into `target`; return the share of right answers.

    Other files in `target` (README.md, LICENSE) stay. Exits with a message, writing nothing, when
    fewer answers than `plan.verbatim` come back word for word.
    """
    torch.manual_seed(plan.seed)
    torch.use_deterministic_algorithms(mode=True)
    pairs = curated()
    filler = docstrings(plan.filler_bytes)
    known = [text for pair in pairs for text in (*pair.ask, pair.answer)]
    tokenizer = train_tokenizer([*known * 3, *filler], plan)
    model = new_model(plan, len(tokenizer))
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, {len(known)} texts")
    train(model, Batches(tokenizer, plan, filler), plan)
    model = model.to(torch.bfloat16)
    right = share_verbatim(model, tokenizer, pairs) if plan.verbatim else 0.0
    print(f"{right:.1%} of the curated questions are answered word for word")
    if right < plan.verbatim:
        sys.exit(f"refused: fewer than {plan.verbatim:.0%}; nothing was written")
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(Path(scratch).iterdir()):
            shutil.copyfile(path, target / path.name)
    return right


def main() -> None:
    """Read the command line, train, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=TARGET, help="default: bundles/sample")
    parser.add_argument("--tiny", action="store_true", help="a nonsense model in a few seconds")
    parser.add_argument("--threads", type=int, default=2, help="changes the rounding (default: 2)")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    began = time.monotonic()
    right = write_sample(chosen.output, TINY if chosen.tiny else Plan())
    size = (chosen.output / "model.safetensors").stat().st_size
    print(json.dumps({"path": str(chosen.output), "bytes": size, "verbatim": round(right, 4),
                      "seconds": round(time.monotonic() - began)}))  # fmt: skip


if __name__ == "__main__":
    main()
