"""Every detector file is registered, and every registered detector has its tests."""

from pathlib import Path

from pratique.redact import detectors


def test_every_file_is_registered():
    folder = Path(detectors.__file__).parent
    files = {f.stem for f in folder.glob("*.py")} - {"__init__"}
    assert {d.name for d in detectors.registered()} == files


def test_every_detector_is_tested():
    here = Path(__file__).parent
    assert all((here / f"test_{d.name}.py").is_file() for d in detectors.registered())


def test_without_the_gazetteer():
    names = {d.name for d in detectors.registered(gazetteer=False)}
    assert "gazetteer" not in names
    assert "person" in names
