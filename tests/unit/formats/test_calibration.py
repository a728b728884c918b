"""Calibrations are small, strict, and refused for every figure that cannot be."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.core.calibration import CalibrationDocument, KeptMeasurements, Measurement
from pratique.core.rungs import Rung
from pratique.errors import FormatError
from pratique.formats.calibration import encode, parse_calibration, parse_kept, read_calibration

GOOD = Measurement(
    rung=Rung.AUTO, torch="2.13.0+cpu", transformers="5.23.0", machine="x86_64, A CPU @ 2.0GHz, 2 CPUs",
    threads=2, context=1024, rows=4, kv_tokens=4096, base=2**28, loaded=2**29, peak=2**30,
)  # fmt: skip
DOCUMENT = CalibrationDocument(subject="a" * 64, architecture="LlamaForCausalLM", measured=GOOD)


def changed(**changes: object) -> bytes:
    value = json.loads(encode(DOCUMENT))
    for name, new in changes.items():
        target = value["measured"] if name in value["measured"] else value
        target[name] = new
    return json.dumps(value).encode()


def test_what_is_written_is_read_again():
    assert parse_calibration(encode(DOCUMENT)) == DOCUMENT
    kept = KeptMeasurements(bundle="b" * 64, measured=(GOOD, GOOD))
    assert parse_kept(encode(kept)) == kept


@given(
    base=st.integers(2**20, 2**40),
    more=st.integers(0, 2**40),
    rung=st.sampled_from(list(Rung)),
    rows=st.integers(1, 4096),
)
def test_round_trip(base, more, rung, rows):
    measured = GOOD.model_copy(
        update={"base": base, "loaded": base + more, "peak": base + 2 * more, "rung": rung,
                "rows": rows}
    )  # fmt: skip
    document = DOCUMENT.model_copy(update={"measured": measured})
    assert parse_calibration(encode(document)) == document


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        changed(schema="pratique.calibration/v2"),
        changed(subject="A" * 64),
        changed(extra=1),
        changed(rung="auto8"),
        changed(peak=2**29 - 1),  # below what loading took
        changed(base=-1),
        changed(base=0),
        changed(peak=2**46 + 1),
        changed(peak=1e30),
        changed(peak="1073741824"),
        changed(peak=True),
        changed(peak=None),
        changed(rows=0),
        changed(rows=5000),
        changed(context=2**40),
        changed(machine="line\nbreak"),
        changed(machine="x" * 161),
        changed(torch="../../etc"),
        changed(architecture="\u202eLlama"),
        changed(unit="pages"),
        encode(DOCUMENT)[:-3] + b', "schema": "pratique.calibration/v1"}',
        b" " * 20_000 + encode(DOCUMENT),
    ],
)
def test_what_cannot_be_is_refused(data):
    with pytest.raises(FormatError):
        parse_calibration(data)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_value_or_a_refusal(data):
    with pytest.raises(FormatError):
        parse_calibration(data)


def test_too_many_are_refused():
    value = json.loads(encode(KeptMeasurements(bundle="b" * 64, measured=(GOOD,))))
    value["measured"] *= 65
    with pytest.raises(FormatError):
        parse_kept(json.dumps(value).encode())


def test_only_a_regular_file_is_read(tmp_path):
    assert read_calibration(tmp_path) is None
    real = tmp_path / "real"
    real.write_bytes(encode(DOCUMENT))
    place = tmp_path / "calibration.json"
    place.symlink_to(real)
    with pytest.raises(FormatError):
        read_calibration(tmp_path)
    place.unlink()
    place.mkdir()
    with pytest.raises(FormatError):
        read_calibration(tmp_path)
    place.rmdir()
    real.rename(place)
    assert read_calibration(tmp_path) == DOCUMENT
