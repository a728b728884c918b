"""Ordinary repositories of common families, and look-alikes of every hostile class: all must pass."""

import json
import struct
import zipfile
from pathlib import Path

from tests.support.corpus.hostile_formats import tflite
from tests.support.corpus.hostile_text import card, template
from tests.support.corpus.kit import (
    Corpus,
    both,
    config,
    edit,
    file,
    gguf,
    npy,
    onnx_model,
    png,
    put,
    safetensors,
    tensor,
    tfevents,
    without,
    zip_of,
)

CASES = Corpus()
CASES.each("PASSED", None, {"plain-llama": lambda d: None})
for _kind in ("qwen3", "gemma3", "deepseek_v3", "bert", "sharded"):
    CASES.each("PASSED", None, {f"plain-{_kind}": lambda d: None}, base=_kind)

_QWEN_TOOLS = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with function signatures within <tools></tools> XML tags:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if '</think>' in message.content %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
    {%- else %}
        {%- set content = message.content %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}{{- tool_call.arguments | tojson }}{{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
_LLAMA31 = """{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content']|trim %}{%- set messages = messages[1:] %}{%- else %}{%- set system_message = "" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}{{- "Cutting Knowledge Date: December 2023\\n" }}{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and tools is defined %}
    {{- "You have access to the following functions. To call a function, please respond with JSON for a function call." }}
    {{- 'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.' }}
    {{- "Do not use variables.\\n\\n" }}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{%- endfor %}
{%- endif %}
{{- system_message }}{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("This model only supports single tool-calls at once!") }}{%- endif %}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}
    {%- endif %}
{%- endfor %}"""
_VISION = """{% set image_count = namespace(value=0) %}{% for message in messages %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}{% set image_count.value = image_count.value + 1 %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}"""
_MACROS = """{%- macro render(properties) -%}{%- for key, value in properties | dictsort %}{{ key }}:{{ value['description'] | default('') }}{%- endfor %}{%- endmacro -%}
{% generation %}{{ render({}) }}{% endgeneration %}{% for m in messages %}{% if m.role == 'skip' %}{% continue %}{% endif %}{{ m.content | replace('\\n\\n', '\\n') }}{% endfor %}"""
_MISTRAL = "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token}}{% endif %}{% endfor %}"
CASES.each("PASSED", None, {
    "template-qwen": template(_QWEN_TOOLS),
    "template-llama31": template(_LLAMA31),
    "template-vision": template(_VISION),
    "template-macros": template(_MACROS),
    "template-mistral": template(_MISTRAL),
    "template-copies-same": lambda d: edit(d, "tokenizer_config.json", chat_template=(d / "chat_template.jinja").read_text() + "\n"),
    "template-named": both(without("chat_template.jinja"), config("tokenizer_config.json", chat_template=[{"name": "default", "template": _MISTRAL}, {"name": "tool_use", "template": _QWEN_TOOLS}])),
    "template-additional-good": file("additional_chat_templates/tool_use.jinja", _QWEN_TOOLS),
    "template-json": lambda d: put(d, "chat_template.json", {"chat_template": (d / "chat_template.jinja").read_text()}),
})  # fmt: skip

_APACHE = "                                 Apache License\n                           Version 2.0, January 2004\n                        http://www.apache.org/licenses/\n\n   TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION\n"
_MIT = "MIT License\n\nCopyright (c) 2024 Someone\n\nPermission is hereby granted, free of charge, to any person obtaining a copy\nof this software\n"
CASES.each("PASSED", None, {
    "licence-card-only": card("license: apache-2.0\nlanguage:\n- en"),
    "licence-text-only": both(without("README.md"), file("LICENSE", _APACHE)),
    "licence-both": both(card("license: apache-2.0"), file("LICENSE", _APACHE)),
    "licence-mit": both(card("license: mit"), file("LICENSE.txt", _MIT), file("NOTICE", "Built with care\n")),
    "licence-bsd": card("license: bsd-3-clause"),
    "licence-cc0": card("license: cc0-1.0"),
    "licence-cc-by": card("license: cc-by-4.0"),
    "licence-gpl": card("license: gpl-3.0"),
    "licence-list": card("license:\n- mit\n- apache-2.0"),
    "licence-unlicense": card("license: unlicense"),
    "licence-cc-by-sa": card("license: cc-by-sa-4.0"),
    "licence-isc": card("license: isc"),
    "card-rich": card("license: mit\ntags:\n- text-generation\nmodel-index:\n- name: x\n  results:\n  - task:\n      type: t\n    metrics:\n    - type: accuracy\n      value: 0.9\nwidget:\n- text: 'Hi: there'\nbase_model: org/base\npipeline_tag: text-generation", "# Model\n\nUse it with `hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` and pickle.load, os.system.\n"),
    "card-crlf": file("README.md", "---\r\nlicense: mit\r\n---\r\n# Model\r\n"),
})  # fmt: skip

_BNB = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "load_in_8bit": False,
    "_load_in_4bit": True,
    "_load_in_8bit": False,
    "bnb_4bit_compute_dtype": "bfloat16",
    "bnb_4bit_quant_storage": "uint8",
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "llm_int8_enable_fp32_cpu_offload": False,
    "llm_int8_has_fp16_weight": False,
    "llm_int8_skip_modules": None,
    "llm_int8_threshold": 6.0,
}
_GPTQ = {
    "bits": 4,
    "quant_method": "gptq",
    "group_size": 128,
    "desc_act": False,
    "sym": True,
    "dataset": "wikitext2",
    "tokenizer": None,
    "backend": "auto",
    "checkpoint_format": "gptq",
    "meta": {"quantizer": ["gptqmodel:1.4.0"]},
    "model_seqlen": 2048,
    "block_name_to_quantize": None,
    "module_name_preceding_first_block": None,
}
_AWQ = {
    "quant_method": "awq",
    "bits": 4,
    "group_size": 128,
    "version": "gemm",
    "zero_point": True,
    "modules_to_not_convert": None,
    "backend": "autoawq",
}
_CT = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 8,
                "type": "float",
                "strategy": "channel",
                "observer": "minmax",
                "dynamic": False,
            },
            "input_activations": {"num_bits": 8, "type": "float"},
        }
    },
    "ignore": ["re:.*lm_head"],
    "kv_cache_scheme": None,
    "quantization_status": "compressed",
}
_TORCHAO = {
    "quant_method": "torchao",
    "quant_type": {
        "default": {"_type": "Int4WeightOnlyConfig", "_version": 1, "_data": {"group_size": 128}}
    },
    "modules_to_not_convert": None,
    "quant_type_kwargs": {},
}
CASES.each("PASSED", None, {
    "quant-bnb": config(quantization_config=_BNB),
    "quant-gptq": both(config(quantization_config=_GPTQ), file("quantize_config.json", _GPTQ)),
    "quant-awq": config(quantization_config=_AWQ),
    "quant-compressed": config(quantization_config=_CT),
    "quant-torchao": config(quantization_config=_TORCHAO),
    "quant-fp8": config(quantization_config={"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [128, 128]}),
    "quant-mxfp4": config(quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}),
    "quant-modelopt": both(config(quantization_config={"quant_method": "modelopt", "quant_algo": "FP8", "producer": {"name": "modelopt", "version": "0.29"}}), file("hf_quant_config.json", {"producer": {"name": "modelopt", "version": "0.29"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": None}})),
    "attention-own": config(_attn_implementation="sdpa", attn_implementation={"text_config": "flash_attention_2"}, use_flash_attn=True),
    "attention-null": config(_attn_implementation=None, _attn_implementation_autoset=True),
    "dtype-nested-good": config(text_config={"torch_dtype": "bfloat16"}, vision_config={"dtype": "float32"}, mamba_ssm_dtype="float32"),
    "trust-false": config(trust_remote_code=False),
    "name-or-path": config(_name_or_path="/home/someone/models/llama", transformers_version="4.40.0"),
    "tokenizer-old-paths": config("tokenizer_config.json", name_or_path="/content/x", special_tokens_map_file="/home/x/.cache/huggingface/transformers/abc.def", tokenizer_file="/root/.cache/huggingface/transformers/16a2f78023c8dc51", vocab_file=None),
    "tokenizer-huge-length": config("tokenizer_config.json", model_max_length=1000000000000000019884624838656),
    "generation": file("generation_config.json", {"_from_model_config": True, "do_sample": True, "temperature": 0.6, "top_p": 0.9, "transformers_version": "4.40.0", "cache_implementation": "hybrid", "stop_strings": ["</s>"], "compile_config": None}),
    "js-config": config(**{"transformers.js_config": {"dtype": "q4", "use_external_data_format": {"model.onnx": True}}}),
    "backbone": config(backbone="resnet50", use_timm_backbone=True, use_pretrained_backbone=True, backbone_kwargs={"out_indices": [1, 2]}),
    "id2label": config(id2label={"0": "os.system", "1": "__class__", "2": "ünï"}, label2id={"os.system": 0}),
    "mamba-infinity": lambda d: put(d, "config.json", (d / "config.json").read_text().replace("{", '{"time_step_limit": [0.0, Infinity],', 1)),
})  # fmt: skip

_ST = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    {
        "idx": 3,
        "name": "3",
        "path": "3_Normalize",
        "type": "sentence_transformers.models.Normalize",
    },
]
_POOL = {
    "word_embedding_dimension": 64,
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "include_prompt": True,
}
_DENSE = {
    "in_features": 2,
    "out_features": 1,
    "bias": True,
    "activation_function": "torch.nn.modules.activation.Tanh",
}
_W = safetensors(
    {
        "__metadata__": {"format": "pt"},
        "linear.bias": tensor([1], 0, 4),
        "linear.weight": tensor([1, 2], 4, 12),
    },
    b"\0" * 12,
)
CASES.each("PASSED", None, {
    "sentence-transformers": both(file("modules.json", _ST), file("1_Pooling/config.json", _POOL), file("2_Dense/config.json", _DENSE), file("2_Dense/model.safetensors", _W), file("sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": False}), file("config_sentence_transformers.json", {"__version__": {"sentence_transformers": "3.0.0", "transformers": "4.41.0", "pytorch": "2.3.0"}, "prompts": {"query": "query: ", "passage": ""}, "default_prompt_name": None, "similarity_fn_name": "cosine"})),
    "sentence-transformers-new": file("modules.json", [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}, {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"}]),
    "cross-encoder": config(sentence_transformers={"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "5.0.0"}, sbert_ce_default_activation_function="torch.nn.modules.linear.Identity"),
}, base="bert")  # fmt: skip


def _record(directory: Path) -> None:
    import hashlib

    for name in ("config.json", "model.safetensors"):
        data = (directory / name).read_bytes()
        blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
        etag = hashlib.sha256(data).hexdigest() if name.endswith("safetensors") else blob
        put(
            directory,
            f".cache/huggingface/download/{name}.metadata",
            f"{'a' * 40}\n{etag}\n1700000000.0\n",
        )
        put(directory, f".cache/huggingface/download/{name}.lock", b"")
    put(directory, ".cache/huggingface/.gitignore", "*")


def _sums(directory: Path) -> None:
    import hashlib

    lines = [
        f"{hashlib.sha256((directory / n).read_bytes()).hexdigest()}  {n}"
        for n in ("config.json", "tokenizer.json")
    ]
    put(directory, "SHA256SUMS", "\n".join(lines) + "\n")


_NB = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": ["!pip install x\n", "import os"],
        }
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}
CASES.each("PASSED", None, {
    "extras-scripts": both(file("train.py", "import os\nos.system('ls')\n"), file("run.sh", "#!/bin/sh\npython train.py\n"), file("requirements.txt", "torch\n"), file("Makefile", "all:\n\techo\n"), file("Dockerfile", "FROM x\n")),
    "extras-python-unnamed": file("modeling_unused.py", "import subprocess\n"),
    "extras-json": both(file("data_config.json", [{"name": "x", "weight": 1}]), file("trainer_state.json", '{"best_metric": NaN, "log_history": [{"loss": Infinity}]}'), file("all_results.json", {"a": 1})),
    "extras-notebook": file("demo.ipynb", _NB),
    "extras-pictures": both(file("assets/logo.png", png()), file("logo.svg", '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><circle r="1"/></svg>'), file("a.gif", b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")),
    "extras-arrays": both(file("mean.npy", npy()), file("stats.npz", zip_of({"a.npy": npy(), "b.npy": npy()}, zipfile.ZIP_STORED)), file("packed.npz", zip_of({"a.npy": npy()}, zipfile.ZIP_DEFLATED))),
    "extras-events": file("runs/Jan01/events.out.tfevents.1700000000.host.123.0", tfevents()),
    "extras-git": both(file(".gitattributes", "*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.bin filter=lfs diff=lfs merge=lfs -text\n"), file(".gitignore", "checkpoint-*/\n")),
    "extras-cache": _record,
    "extras-sums": _sums,
    "extras-tables": both(file("eval.csv", "a,b\n1,2\n"), file("log.jsonl", '{"a":1}\n{"a":2}\n'), file("recipe.yaml", "a: 1\n"), file("pyproject.toml", "[x]\n"), file("train.log", "\x1b[32mok\x1b[0m\n")),
    "extras-documents": both(file("docs/usage.md", "# Use\n"), file("paper.pdf", b"%PDF-1.4\n...\n%%EOF\n"), file("CITATION.cff", "cff-version: 1.2.0\n"), file("CHANGELOG", "v1\n")),
    "extras-github": both(file(".github/workflows/ci.yml", "on: push\n"), file(".editorconfig", "root = true\n"), file(".eval_results/x.yaml", "a: 1\n")),
    "extras-key-examples": file("docs.md", "AKIAIOSFODNN7EXAMPLE, hf_your_token_here_xxxxxxxxxxxxxxxx, sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, https://user:pass@example.com\n"),
    "extras-scripts-tokens": file("push.py", "hf_token = os.environ.get('HF_TOKEN')\ntoken = tokenizer.convert_tokens_to_ids(x)\nTOKEN = get_the_token_from_somewhere\n"),
    "extras-damaged": both(file("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 40), file("b.jpg", b"\xff\xd8\xff\xe0" + b"\0" * 40), file("runs/events.out.tfevents.1.h", b"\x18\0\0\0\0\0\0\0cut")),
    "extras-raw-arrays": both(file("means.bin", struct.pack("<8f", *range(8))), file("query.f32", struct.pack("<4f", 0.5, 1, 2, -3)), file("data/emb.dat", struct.pack("<8e", *[0.25] * 8))),
    "extras-latin1": both(file("notes.txt", "Größe".encode("latin-1")), file("eval.csv", "naïve;1\n".encode("latin-1"))),
    "extras-json-lines": file("train.json", '{"text": "a"}\n{"text": "b"}\n'),
    "template-context": template(_MISTRAL + "{% if context is defined %}{{ context }}{% endif %}"),
    "extras-words": file("words.txt", "cat\ndog\nRoot\ncos\nsystem\n(S'id'\nis not a pickle\n"),
    "extras-labels": both(file("labels.txt", "a\nb\n"), file("imagenet_classes.json", {"0": "tench"})),
    "onnx": both(file("onnx/model.onnx", onnx_model(domain="com.microsoft", operator="MatMulNBits")), file("onnx/model_quantized.onnx", onnx_model())),
    "onnx-external": both(file("onnx/model.onnx", onnx_model(external={"location": "model.onnx_data", "offset": "0", "length": "16"})), file("onnx/model.onnx_data", b"\0" * 16)),
    "onnx-external-bin": both(file("model.onnx", onnx_model(external={"location": "weights.bin", "offset": "0", "length": "16"})), file("weights.bin", b"\x01" * 16)),
    "onnx-external-dot": both(file("model.onnx", onnx_model(external={"location": "model.onnx.data"})), file("model.onnx.data", b"\0" * 16)),
    "gguf-beside": file("model-q4.gguf", gguf({"general.architecture": (8, "llama"), "general.alignment": (4, 32), "a": (9, (8, ["x", "y"])), "b": (9, (6, [1.0]))}, [("w", [32], 2, 0), ("v", [8], 0, 32)], b"\0" * 64)),
    "tflite": file("model.tflite", tflite(builtin=9)),
    "flax": file("flax_model.msgpack", b"\x81\xa1w\xc7\x04\x01\x93\x90\xa1f" + b""),
    "openvino": both(file("openvino/openvino_model.xml", '<?xml version="1.0"?><net name="m" version="11"><layers><layer id="0" name="a" type="Const" version="opset1"><data element_type="f32" shape="1" offset="0" size="4"/></layer></layers></net>'), file("openvino/openvino_model.bin", b"\0" * 4)),
    "weights-long-metadata": file("extra.safetensors", safetensors({"__metadata__": {"format": "pt", "training": "x" * 200_000}, "a": tensor([2], 0, 8)}, b"\0" * 8)),
    "weights-padded-header": file("extra.safetensors", safetensors(json.dumps({"a": tensor([2], 0, 8)}).encode() + b"   ", b"\0" * 8)),
    "weights-empty-tensor": file("extra.safetensors", safetensors({"a": tensor([0, 4], 0, 0), "b": tensor([], 0, 4)}, b"\0" * 4)),
    "weights-fp8": file("extra.safetensors", safetensors({"a": tensor([8], 0, 8, "F8_E4M3"), "b": tensor([4], 8, 10, "F4")}, b"\0" * 10)),
    "processor-clip": both(file("preprocessor_config.json", {"crop_size": {"height": 224, "width": 224}, "do_normalize": True, "feature_extractor_type": "CLIPFeatureExtractor", "image_processor_type": "CLIPImageProcessor", "image_mean": [0.48, 0.45, 0.4], "resample": 3}), file("processor_config.json", {"processor_class": "CLIPProcessor"})),
    "processor-whisper": file("preprocessor_config.json", {"chunk_length": 30, "feature_extractor_type": "WhisperFeatureExtractor", "mel_filters": [[0.0, 1e-5]], "n_fft": 400, "processor_class": "WhisperProcessor"}),
    "processor-video": file("video_preprocessor_config.json", {"video_processor_type": "Qwen2VLVideoProcessor", "processor_class": "Qwen2VLProcessor"}),
    "diffusers-scheduler": file("scheduler/scheduler_config.json", {"_class_name": "DDIMScheduler", "_diffusers_version": "0.30.0"}),
    "diffusers-index": file("model_index.json", {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.30.0", "feature_extractor": [None, None], "unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "requires_safety_checker": True}),
})  # fmt: skip
CASES.each("PASSED", None, {
    "adapter-no-base": both(card("license: mit"), file("adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": None, "auto_mapping": {"base_model_class": "LlamaForCausalLM", "parent_library": "transformers.models.llama.modeling_llama"}, "megatron_core": "megatron.core", "megatron_config": None, "r": 8, "target_modules": ["q_proj"]}), file("adapter_model.safetensors", _W)),
    "gguf-only": both(card("license: apache-2.0"), file("model.Q4_K_M.gguf", gguf({"general.architecture": (8, "llama"), "tokenizer.chat_template": (8, _MISTRAL)}, [("w", [256], 12, 0)], b"\0" * 160))),
}, base="bare")  # fmt: skip
