import pytest

from pratique.core.candidate import EntryKind, Listed
from pratique.core.ids import GitId, RelPath
from pratique.core.stages import Stage
from pratique.fetch.listing import Wanted, with_folders
from pratique.fetch.plan import EARLY_BYTES, selector, stages


def wanted(path: str, size: int = 100) -> Wanted:
    return Wanted(RelPath(path), size, GitId("1" * 40))


def stage_of(path: str, size: int = 100) -> Stage:
    plan = stages([wanted(path, size)])
    return next(stage for stage, files in plan.items() if files)


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("config.json", Stage.CODE_AND_CONFIG),
        ("modeling_x.py", Stage.CODE_AND_CONFIG),
        ("README.md", Stage.CODE_AND_CONFIG),
        ("LICENSE", Stage.CODE_AND_CONFIG),
        ("LICENSE.txt", Stage.CODE_AND_CONFIG),
        ("1_Pooling/config.json", Stage.CODE_AND_CONFIG),
        ("chat_template.jinja", Stage.CODE_AND_CONFIG),
        ("tokenizer_config.json", Stage.CODE_AND_CONFIG),
        ("special_tokens_map.json", Stage.CODE_AND_CONFIG),
        ("model.safetensors.index.json", Stage.HEADERS),
        ("tokenizer.json", Stage.TOKENIZER),
        ("vocab.txt", Stage.TOKENIZER),
        ("merges.txt", Stage.TOKENIZER),
        ("sentencepiece.bpe.model", Stage.TOKENIZER),
        ("spiece.model", Stage.TOKENIZER),
        ("tokenizer.model", Stage.TOKENIZER),
        ("qwen.tiktoken", Stage.TOKENIZER),
        ("model.safetensors", Stage.CONTENT),
        ("pytorch_model.bin", Stage.CONTENT),
        ("logo.png", Stage.CONTENT),
        ("unknown", Stage.CONTENT),
    ],
)
def test_when_a_file_is_looked_at(path: str, stage: Stage) -> None:
    assert stage_of(path) is stage


def test_a_large_text_waits() -> None:
    assert stage_of("notes.txt", 300 << 10) is Stage.TOKENIZER
    assert stage_of("huge.json", 100 << 20) is Stage.CONTENT


def test_the_early_budget_holds_and_goes_to_what_matters() -> None:
    files = [wanted(f"data/{i:03}.json", 60_000) for i in range(50)]
    files += [wanted("config.json", 200_000), wanted("modeling.py", 200_000)]
    early = stages(files)[Stage.CODE_AND_CONFIG]
    assert sum(f.size for f in early) <= EARLY_BYTES
    assert {"config.json", "modeling.py"} <= {f.path for f in early}


@pytest.mark.parametrize(
    ("only", "without", "path", "expected"),
    [
        ((), (), "a/b.bin", True),
        ((), ("*.bin",), "a/b.bin", False),
        ((), ("onnx/*",), "onnx/a/b", False),
        (("*.json",), (), "config.json", True),
        (("*.json",), (), "x.bin", False),
        (("*.json",), ("config*",), "config.json", False),
        ((), ("*.BIN",), "x.bin", True),
    ],
)
def test_selection(
    only: tuple[str, ...], without: tuple[str, ...], path: str, expected: bool
) -> None:
    assert selector(only, without)(path) is expected


def test_folders_are_listed_for_the_gate() -> None:
    found = with_folders([Listed("a/b/c.json", 1), Listed("d", 2)])
    assert [(e.path, e.kind) for e in found] == [
        ("a/b/c.json", EntryKind.FILE),
        ("d", EntryKind.FILE),
        ("a", EntryKind.FOLDER),
        ("a/b", EntryKind.FOLDER),
    ]
