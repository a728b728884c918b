"""Code and configuration: everything that makes a loader import, open or fetch something."""

from tests.support.corpus.kit import Corpus, both, config, file, put, void

CASES = Corpus()
_CODE = "import os\nfrom transformers import LlamaForCausalLM\n\n\nclass M(LlamaForCausalLM):\n    pass\n"
_OWN = {"AutoModelForCausalLM": "modeling_x.M"}

CASES.each("NEEDS_APPROVAL", "remote-code", {
    "code-own": both(config(auto_map=_OWN), file("modeling_x.py", _CODE)),
    "code-own-in-folder": both(config(auto_map={"AutoModel": "code/modeling_x.M"}), file("code/modeling_x.py", _CODE)),
    "code-own-two-files": both(config(auto_map=_OWN), file("modeling_x.py", "from .configuration_x import C\n" + _CODE), file("configuration_x.py", "class C: ...\n")),
    "code-own-tokenizer": both(config("tokenizer_config.json", auto_map={"AutoTokenizer": ["tok.T", None]}), file("tok.py", _CODE)),
    "code-own-processor": both(file("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "proc.P"}, "image_processor_type": "P"}), file("proc.py", _CODE)),
    "code-own-processor-2": both(file("processor_config.json", {"auto_map": {"AutoProcessor": "proc.P"}}), file("proc.py", _CODE)),
    "code-own-nested": both(config(text_config={"auto_map": {"AutoModel": "modeling_x.M"}}), file("modeling_x.py", _CODE)),
    "code-own-escaped-key": lambda d: void(put(d, "config.json", (d / "config.json").read_text().replace("{", '{"auto\\u005fmap": {"AutoModel": "modeling_x.M"},', 1)) and put(d, "modeling_x.py", _CODE)),
})  # fmt: skip
CASES.each("NEEDS_APPROVAL", "custom-generate", {
    "generate-own": file("custom_generate/generate.py", "def generate(model, **kwargs):\n    return model\n"),
})  # fmt: skip
CASES.each("NEEDS_APPROVAL", "custom-pipeline", {
    "pipeline-own": both(config(custom_pipelines={"pair": {"impl": "pair.Pair", "pt": ["AutoModel"], "type": "text"}}), file("pair.py", _CODE)),
    "pipeline-diffusers-own": both(file("model_index.json", {"_class_name": "StableDiffusionPipeline", "unet": ["my_unet", "MyUnet"]}), file("unet/my_unet.py", _CODE)),
})  # fmt: skip
CASES.each("NEEDS_APPROVAL", "sentence-modules", {
    "st-own-module": both(file("modules.json", [{"idx": 0, "name": "0", "path": "", "type": "custom_st.T"}]), file("custom_st.py", _CODE)),
})  # fmt: skip
_ADAPTER = {
    "peft_type": "LORA",
    "r": 8,
    "lora_alpha": 16,
    "target_modules": ["q_proj"],
    "task_type": "CAUSAL_LM",
}
CASES.each("NEEDS_APPROVAL", "adapter-base", {
    "adapter-remote": file("adapter_config.json", _ADAPTER | {"base_model_name_or_path": "meta-llama/Llama-3.1-8B"}),
    "adapter-remote-pinned": file("adapter_config.json", _ADAPTER | {"base_model_name_or_path": "org/base", "revision": "a" * 40}),
    "adapter-in-folder": file("lora/adapter_config.json", _ADAPTER | {"base_model_name_or_path": "org/base"}),
})  # fmt: skip
CASES.each("FAILED", "adapter-base", {
    "adapter-path": file("adapter_config.json", _ADAPTER | {"base_model_name_or_path": "../../etc"}),
    "adapter-absolute": file("adapter_config.json", _ADAPTER | {"base_model_name_or_path": "/srv/models/x"}),
    "adapter-url": file("adapter_config.json", _ADAPTER | {"base_model_name_or_path": "https://evil.example/x"}),
    "adapter-parent-library": file("adapter_config.json", _ADAPTER | {"base_model_name_or_path": "org/base", "auto_mapping": {"base_model_class": "X", "parent_library": "evil_package"}}),
    "adapter-megatron": file("adapter_config.json", _ADAPTER | {"base_model_name_or_path": "org/base", "megatron_core": "evil.core", "megatron_config": {}}),
})  # fmt: skip
CASES.each("NEEDS_APPROVAL", "hub-kernels", {
    "kernel-attention": config(_attn_implementation="kernels-community/flash-attn"),
    "kernel-attention-pinned": config(attn_implementation="org/kernel@v1:func"),
    "kernel-paged": config(attn_implementation="paged|org/kernel"),
    "kernel-experts": config(experts_implementation="org/moe-kernel"),
    "kernel-nested": config(text_config={"_attn_implementation": "org/kernel"}),
    "kernel-per-part": config(attn_implementation={"text_config": "org/kernel", "vision_config": "sdpa"}),
})  # fmt: skip
CASES.each("FAILED", "hub-kernels", {
    "attention-path": config(attn_implementation="./kernel"),
    "attention-parent": config(attn_implementation="../x/y"),
    "attention-unknown": config(_attn_implementation="my_attention"),
    "attention-url": config(attn_implementation="https://evil.example/k"),
    "experts-unknown": config(_experts_implementation="os.system"),
    "attention-number": config(attn_implementation=3),
})  # fmt: skip

CASES.each("FAILED", "foreign-code", {
    "code-other-repo": config(auto_map={"AutoModel": "evil/repo--modeling.M"}),
    "code-other-repo-and-own": both(config(auto_map={"AutoConfig": "modeling_x.M", "AutoModel": "evil/repo--modeling.M"}), file("modeling_x.py", _CODE)),
    "code-other-repo-tokenizer": config("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil/repo--t.T", None]}),
    "code-other-repo-generation": config("generation_config.json", auto_map={"X": "evil/repo--t.T"}),
    "code-other-repo-nested": config(vision_config={"auto_map": {"AutoModel": "evil/repo--m.M"}}),
    "code-other-repo-adapter": file("adapter_config.json", _ADAPTER | {"base_model_name_or_path": None, "auto_map": {"x": "a/b--c.D"}}),
    "code-other-repo-escaped": lambda d: void(put(d, "config.json", (d / "config.json").read_text().replace("{", '{"\\u0061uto_map": {"AutoModel": "a/b--c.D"},', 1))),
    "code-in-folder-other-repo": file("text_encoder/config.json", {"model_type": "bert", "auto_map": {"AutoModel": "a/b--c.D"}}),
    "code-other-repo-parent": config(auto_map={"AutoModel": "other/repo--../../x.M"}),
    "code-other-repo-parent-first": config(auto_map={"AutoModel": "../repo--x.M"}),
    "code-other-repo-absolute": config(auto_map={"AutoModel": "/tmp--x.M"}),
    "code-other-repo-folder": config(auto_map={"AutoModel": "other/repo--sub/x.M"}),
    "code-other-repo-three-dashes": config(auto_map={"AutoModel": "other/repo---x.M"}),
    "code-other-repo-twice": config(auto_map={"AutoModel": "other/repo--third/repo--x.M"}),
    "code-other-repo-two-dots": config(auto_map={"AutoModel": "other/repo--x.y.M"}),
    "code-other-repo-no-class": config(auto_map={"AutoModel": "other/repo--x"}),
    "code-other-repo-no-name": config(auto_map={"AutoModel": "--modeling_x.M"}),
    "code-other-repo-url": config(auto_map={"AutoModel": "https://evil.example--x.M"}),
    "code-other-repo-device": config(auto_map={"AutoModel": "other/repo--nul.M"}),
    "code-other-repo-hidden": config(auto_map={"AutoModel": "other/repo--x\u200b.M"}),
    "code-other-repo-pinned-in-the-name": config(auto_map={"AutoModel": "other/repo@main--x.M"}),
})  # fmt: skip
CASES.each("FAILED", "remote-code", {
    "code-missing-file": config(auto_map={"AutoModel": "modeling_x.M"}),
    "code-traversal": config(auto_map={"AutoModel": "../../x.M"}),
    "code-absolute": config(auto_map={"AutoModel": "/tmp/x.M"}),
    "code-no-class": config(auto_map={"AutoModel": "os"}),
    "code-not-text": config(auto_map={"AutoModel": 7}),
    "code-bidi": both(config(auto_map=_OWN), file("modeling_x.py", _CODE + "# \u202e hidden\n")),
    "code-unreadable": both(config(auto_map=_OWN), file("modeling_x.py", "class M(:\n")),
    "code-binary": both(config(auto_map=_OWN), file("modeling_x.py", b"\xff\xfe\0\0")),
})  # fmt: skip
CASES.each("FAILED", "custom-generate", {
    "generate-other-repo": config("generation_config.json", custom_generate="evil/strategy"),
    "generate-assistant": config("generation_config.json", assistant_model="evil/draft"),
})  # fmt: skip
CASES.each("FAILED", "custom-pipeline", {
    "pipeline-other-repo": config(custom_pipelines={"pair": {"impl": "evil/repo--pair.Pair"}}),
    "pipeline-missing": config(custom_pipelines={"pair": {"impl": "pair.Pair"}}),
    "pipeline-diffusers-module": file("model_index.json", {"_class_name": "X", "unet": ["os", "system"]}),
    "pipeline-diffusers-custom": file("model_index.json", {"_class_name": "X", "custom_pipeline": "evil/pipe"}),
    "pipeline-diffusers-class-list": file("model_index.json", {"_class_name": ["evil", "X"]}),
})  # fmt: skip
_T = {"idx": 0, "name": "0", "path": ""}
CASES.each("FAILED", "sentence-modules", {
    "st-os-system": file("modules.json", [_T | {"type": "os.system"}]),
    "st-other-repo": file("modules.json", [_T | {"type": "evil/repo--m.M"}]),
    "st-torch-hub": file("modules.json", [_T | {"type": "torch.hub.load"}]),
    "st-own-missing": file("modules.json", [_T | {"type": "custom_st.T"}]),
    "st-path": file("modules.json", [{"idx": 0, "name": "0", "path": "../../x", "type": "sentence_transformers.models.Transformer"}]),
    "st-dense-activation": file("2_Dense/config.json", {"in_features": 2, "out_features": 2, "activation_function": "os.system"}),
    "st-cross-encoder-activation": config(sentence_transformers={"activation_fn": "builtins.exec", "version": "5"}),
    "st-cross-encoder-old": config(sbert_ce_default_activation_function="subprocess.run"),
    "st-router": file("router_config.json", {"types": {"query_0": "os.system"}, "structure": {}, "parameters": {}}),
    "st-util": file("modules.json", [_T | {"type": "sentence_transformers.util.misc.import_from_string"}]),
    "st-tokenizer-class": file("0_WordEmbeddings/config.json", {"tokenizer_class": "os.system"}),
    "st-torch-load": file("2_Dense/config.json", {"activation_function": "torch.load"}),
})  # fmt: skip
CASES.each("FAILED", "config-trust", {
    "trust-top": config(trust_remote_code=True),
    "trust-nested": config(text_config={"trust_remote_code": True}),
    "trust-tokenizer": config("tokenizer_config.json", trust_remote_code=True),
    "trust-st-args": file("sentence_bert_config.json", {"max_seq_length": 8, "model_args": {"trust_remote_code": True}}),
    "trust-text": config(trust_remote_code="true"),
    "trust-pickle": config(allow_pickle=True),
    "trust-weights-only": config(weights_only=False),
})  # fmt: skip
CASES.each("FAILED", "config-dtype", {
    "dtype-load": config(torch_dtype="load"),
    "dtype-dtype": config(dtype="hub"),
    "dtype-nested": config(text_config={"dtype": "os"}),
    "dtype-bnb": config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_compute_dtype": "load"}),
    "dtype-bnb-storage": config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_storage": "_C"}),
    "dtype-dunder": config(torch_dtype="__builtins__"),
    "dtype-dotted": config(torch_dtype="torch.hub.load"),
})  # fmt: skip
CASES.each("FAILED", "quantisation", {
    "quant-unknown": config(quantization_config={"quant_method": "evil"}),
    "quant-class": config(quantization_config={"quant_method": "gptq", "bits": 4, "linear_class": "evil.Linear"}),
    "quant-target": config(quantization_config={"quant_method": "hqq", "_target_": "os.system"}),
    "quant-type": config(quantization_config={"quant_method": "torchao", "quant_type": {"default": {"_type": "os.system", "_data": {}}}}),
    "quant-path": config(quantization_config={"quant_method": "awq", "backend": "/tmp/x.so"}),
    "quant-module": config(quantization_config={"quant_method": "quanto", "module_path": "evil.mod"}),
    "quant-file": file("quantize_config.json", {"bits": 4, "quant_method": "evil-quant"}),
    "quant-list": config(quantization_config=["x"]),
    "quant-remote": config(quantization_config={"quant_method": "gptq", "custom_class": "a/b--c.D"}),
})  # fmt: skip
CASES.each("FAILED", "config-paths", {
    "path-tokenizer-file": config("tokenizer_config.json", tokenizer_file="/etc/passwd"),
    "path-vocab-file": config("tokenizer_config.json", vocab_file="../../vocab.txt"),
    "path-home": config("tokenizer_config.json", vocab_file="~/.ssh/id_rsa"),
    "path-url": config("tokenizer_config.json", merges_file="http://evil.example/merges.txt"),
    "path-fast-files": config("tokenizer_config.json", fast_tokenizer_files=["../tokenizer.4.0.json"]),
    "path-windows": config("tokenizer_config.json", vocab_file="C:\\x\\vocab.txt"),
    "path-unc": config("tokenizer_config.json", tokenizer_file="\\\\host\\share\\t.json"),
    "path-rag-index": config(index_path="/tmp/index", model_type="rag"),
    "path-audio-tokenizer": file("processor_config.json", {"audio_tokenizer": {"audio_tokenizer_class": "DacModel", "audio_tokenizer_name_or_path": "evil/dac"}}),
    "path-timm-hub": config(model_type="timm_wrapper", architecture="hf-hub:evil/net"),
    "path-class-name": config("tokenizer_config.json", tokenizer_class="../evil.Tokenizer"),
    "path-architecture": config(architectures=["os.system('id')"]),
    "path-model-type": config(model_type="../../evil"),
})  # fmt: skip
