"""Shapes on which the memory formula was not fitted: what `benchmarks/fit.py --held-out` measures.

Each is written with random weights by transformers itself, so that the tensors are the family's own.
They differ from the fitted ones in width, depth, ratio of heads, vocabulary, family, length and batch.
"""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Case:
    """One model and what is asked of it. `kind` is a configuration class of transformers."""

    name: str
    kind: str
    dtype: str
    context: int
    rows: int
    config: dict[str, Any] = field(default_factory=dict)
    auto: str = "AutoModelForCausalLM"

    @property
    def embeds(self) -> bool:
        return self.auto == "AutoModel"


def _decoder(  # noqa: PLR0917 - read as a row of a table
    hidden: int, layers: int, heads: int, groups: int, inner: int, vocab: int
) -> dict:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "intermediate_size": inner,
        "vocab_size": vocab,
        "max_position_embeddings": 8192,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }


def _gemma(**more: Any) -> dict:
    return {**_decoder(768, 8, 8, 2, 3072, 50_000), "head_dim": 128, **more}


CASES = (
    Case("llama-wide-tied", "LlamaConfig", "float32", 512, 6,
         {**_decoder(1536, 4, 24, 8, 4096, 24_000), "tie_word_embeddings": True}),
    Case("llama-deep", "LlamaConfig", "bfloat16", 1024, 16, _decoder(512, 28, 8, 2, 1408, 8_000)),
    Case("llama-mqa-4k-b1", "LlamaConfig", "bfloat16", 4096, 1,
         _decoder(1024, 8, 16, 1, 2816, 32_000)),
    Case("llama-mqa-4k-b1-f32", "LlamaConfig", "float32", 4096, 1,
         _decoder(768, 6, 12, 1, 2048, 16_000)),
    Case("llama-mha-8k-b2", "LlamaConfig", "bfloat16", 8192, 2,
         _decoder(768, 6, 12, 12, 2048, 32_000)),
    Case("llama-1k-b16", "LlamaConfig", "float32", 1024, 16,
         _decoder(512, 8, 8, 8, 1408, 16_000)),
    Case("llama-vocabulary-b16", "LlamaConfig", "bfloat16", 512, 16,
         _decoder(384, 4, 6, 2, 1024, 151_936)),
    Case("llama-vocabulary-f32", "LlamaConfig", "float32", 512, 16,
         _decoder(256, 4, 4, 2, 1024, 128_256)),
    Case("mistral-sliding-4k", "MistralConfig", "bfloat16", 4096, 2,
         {**_decoder(1024, 6, 16, 4, 2816, 32_000), "sliding_window": 512}),
    Case("qwen2-4k-b4", "Qwen2Config", "bfloat16", 4096, 4,
         {**_decoder(896, 8, 14, 2, 4864, 32_000), "tie_word_embeddings": True}),
    Case("gemma2-softcap-2k", "Gemma2Config", "bfloat16", 2048, 2,
         _gemma(sliding_window=512, query_pre_attn_scalar=128)),
    Case("gemma3-sliding-4k", "Gemma3TextConfig", "bfloat16", 4096, 2,
         _gemma(sliding_window=512, query_pre_attn_scalar=128)),
    Case("mixtral", "MixtralConfig", "bfloat16", 1024, 4,
         {**_decoder(512, 6, 8, 2, 1408, 16_000), "num_local_experts": 8}),
    Case("mixtral-f32", "MixtralConfig", "float32", 512, 4,
         {**_decoder(512, 4, 8, 2, 1024, 16_000), "num_local_experts": 8}),
    Case("qwen3-moe", "Qwen3MoeConfig", "bfloat16", 1024, 4,
         {**_decoder(640, 6, 10, 2, 1408, 16_000), "head_dim": 64, "num_experts": 32,
          "num_experts_per_tok": 4, "moe_intermediate_size": 256}),
    Case("deepseek-v2-2k", "DeepseekV2Config", "bfloat16", 2048, 4,
         {**_decoder(512, 6, 8, 8, 1408, 16_000), "n_routed_experts": 16, "n_shared_experts": 1,
          "num_experts_per_tok": 2, "moe_intermediate_size": 512, "first_k_dense_replace": 1,
          "q_lora_rank": 256, "kv_lora_rank": 128, "qk_rope_head_dim": 32, "qk_nope_head_dim": 64,
          "v_head_dim": 64, "n_group": 1, "topk_group": 1}),
    Case("deepseek-v3-b1", "DeepseekV3Config", "bfloat16", 2048, 1,
         {**_decoder(768, 6, 12, 12, 2048, 16_000), "n_routed_experts": 16, "n_shared_experts": 1,
          "num_experts_per_tok": 4, "moe_intermediate_size": 384, "first_k_dense_replace": 1,
          "q_lora_rank": 384, "kv_lora_rank": 256, "qk_rope_head_dim": 32, "qk_nope_head_dim": 64,
          "v_head_dim": 64, "n_group": 4, "topk_group": 2}),
    Case("phi", "PhiConfig", "bfloat16", 2048, 4, _decoder(1024, 8, 16, 16, 4096, 32_000)),
    Case("phi3-fused", "Phi3Config", "float32", 1024, 4, _decoder(768, 8, 12, 12, 2048, 16_000)),
    Case("gpt2", "GPT2Config", "float32", 1024, 8,
         {"n_embd": 768, "n_layer": 8, "n_head": 12, "vocab_size": 50_257, "n_positions": 1024,
          "bos_token_id": None, "eos_token_id": 1}),
    Case("gpt-neox", "GPTNeoXConfig", "bfloat16", 2048, 4,
         {k: v for k, v in _decoder(1024, 8, 16, 16, 4096, 50_432).items()
          if k != "num_key_value_heads"}),
    Case("opt", "OPTConfig", "float32", 1024, 4,
         {"hidden_size": 768, "num_hidden_layers": 8, "num_attention_heads": 12, "ffn_dim": 3072,
          "vocab_size": 50_272, "max_position_embeddings": 1024, "word_embed_proj_dim": 768,
          "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}),
    Case("bert-512-b16", "BertConfig", "float32", 512, 16,
         {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12,
          "intermediate_size": 1536, "vocab_size": 30_522}, "AutoModel"),
    Case("roberta-large-b32", "RobertaConfig", "bfloat16", 512, 32,
         {"hidden_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 16,
          "intermediate_size": 4096, "vocab_size": 50_265, "max_position_embeddings": 514,
          "pad_token_id": 1}, "AutoModel"),
    Case("distilbert-b1", "DistilBertConfig", "float32", 512, 1,
         {"dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072, "vocab_size": 30_522},
         "AutoModel"),
)  # fmt: skip

_MAKE = """
import json, sys, torch, transformers
from transformers.utils import logging
logging.set_verbosity_error()
kind, auto, dtype, config, target = sys.argv[1:]
torch.manual_seed(0)
made = getattr(transformers, auto).from_config(
    getattr(transformers, kind)(**json.loads(config)), dtype=getattr(torch, dtype)
)
made.save_pretrained(target)
print(sum(p.numel() for p in made.parameters()))
"""


def write_case(case: Case, directory: Path) -> Path:
    """Write the model and a tokenizer, in a process of its own."""
    import json

    sys.path.insert(0, str(ROOT))
    from tests.support import model_tokenizers

    directory.mkdir(parents=True)
    arguments = [case.kind, case.auto, case.dtype, json.dumps(case.config), str(directory)]
    subprocess.run(
        [sys.executable, "-c", _MAKE, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=300,
    )
    model_tokenizers.write_tokenizer(directory, "wordpiece" if case.embeds else "byte_bpe")
    path = directory / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"model_max_length": case.context}
    path.write_text(json.dumps(config))
    if case.embeds:
        (directory / "generation_config.json").unlink(missing_ok=True)
    return directory
