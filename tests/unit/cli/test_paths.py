"""Paths on the command line: an empty one is a mistake, for every verb that there is or will be."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pratique.cli.bundle_place import PLACE
from pratique.cli.main import VERBS, cli
from pratique.cli.paths import FILE, FOLDER, NAME, PATH
from pratique.store.quarantine import hash_tree
from tests.support.cli import run_cli
from tests.support.models import write_model

PATHS = {type(PATH), type(PLACE)}
NAMED = {"reference", "policy", "key", "source", "name", "bundle", "before", "after", "what"}


def commands() -> Iterator[tuple[str, click.Command]]:
    yield "", cli
    for verb in VERBS:
        command = cli.get_command(click.Context(cli), verb)
        if isinstance(command, click.Group):
            for name in command.commands:
                yield f"{verb} {name}", command.commands[name]
        elif command is not None:
            yield verb, command


def named_parameters() -> Iterator[tuple[str, str, int]]:
    """Every parameter that names a file, folder, model, bundle or policy: (verb, option, position)."""
    for words, command in commands():
        place = 0
        for param in command.params:
            argument = isinstance(param, click.Argument)
            place += argument
            if type(param.type) in {*PATHS, type(NAME)}:
                yield words, "" if argument else param.opts[0], place


@pytest.mark.parametrize(("words", "option", "place"), list(named_parameters()))
def test_an_empty_path_or_name_is_refused(
    words: str, option: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [option, ""] if option else ["bundle"] * (place - 1) + [""]
    code, out, err = run_cli(*words.split(), *given)
    assert (code, out) == (2, "")
    assert "it is empty, and an empty name names nothing." in err
    assert list(tmp_path.iterdir()) == []


def test_no_parameter_goes_another_way() -> None:
    """click's own path takes an empty one for the current directory; a reference may be a path."""
    found = 0
    for words, command in commands():
        for param in command.params:
            kind = type(param.type)
            assert kind is not click.Path, (words, param.name)
            if param.name in NAMED and kind is type(click.STRING):
                pytest.fail(f"{words}: {param.name} takes an empty name")
            found += kind in PATHS
    assert found > 40


@pytest.mark.parametrize("words", ["--vetter", "--approver", "--runtime", "--file"])
@pytest.mark.parametrize("given", ["", "ann="])
def test_an_empty_path_inside_an_option(words: str, given: str, tmp_path: Path) -> None:
    code, _, err = run_cli("trust", "add", str(tmp_path / "set"), words, given)
    assert code == 2, err
    assert "hint: " in err


def test_the_current_directory_has_to_be_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-alike: `.` is judged as ever."""
    model = write_model(tmp_path / "tiny")
    monkeypatch.chdir(model)
    assert run_cli("vet", ".")[0] == 0
    assert run_cli("vet", "")[0] == 2
    assert run_cli("vet", "./")[0] == 0


@pytest.mark.parametrize("given", [".", "/"])
def test_a_key_needs_a_name(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run_cli("keys", "new", given)
    assert code == 2
    assert "is no name for a key" in err
    assert list(tmp_path.iterdir()) == []


def test_convert_of_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_model(tmp_path / "tiny")
    monkeypatch.chdir(model)
    before = hash_tree(tmp_path)
    code, _, err = run_cli("convert", ".")
    assert code not in {0, 1}, err  # nothing to convert in it, and no bug
    assert hash_tree(tmp_path) == before


@pytest.mark.parametrize("kind", [FILE])
def test_a_file_is_not_called_like_a_folder(kind: click.ParamType[Path], tmp_path: Path) -> None:
    with pytest.raises(click.BadParameter, match="name of a folder"):
        kind.convert(f"{tmp_path}/out/", None, None)
    assert kind.convert(f"{tmp_path}/out", None, None) == tmp_path / "out"
    assert FOLDER.convert(f"{tmp_path}/out/", None, None) == tmp_path / "out"


def test_output_of_vet_is_a_file(tmp_path: Path) -> None:
    model = write_model(tmp_path / "tiny")
    code, _, err = run_cli("vet", str(model), "-o", f"{tmp_path}/out/")
    assert code == 2
    assert "a file is meant" in err
    assert not (tmp_path / "out").exists()
    assert run_cli("vet", str(model), "-o", f"{tmp_path}/out")[0] == 0
    assert (tmp_path / "out").is_file()


def test_names_that_are_only_odd_are_taken(tmp_path: Path) -> None:
    for odd in (" ", "-", "a b", "ü", "..."):
        assert os.fspath(PATH.convert(odd, None, None)) == odd
        assert NAME.convert(odd, None, None) == odd
