"""Records and names: what a reference means, and what a damaged record says."""

from pathlib import Path

import pytest

from pratique.core.bundle import BundlePolicy
from pratique.core.ids import BundleId, Digest
from pratique.errors import FormatError, StorageError, UnreadableInput, UsageError
from pratique.store import records
from pratique.store.cas import Store, make_store
from pratique.store.records import AdmissionRecord, Alias, Move

ONE, TWO = BundleId("aaaaaaaa" + "1" * 56), BundleId("aaaaaaaa" + "2" * 56)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path)


def record(bundle: BundleId, name: str = "tiny", rev8: str = "0a1b2c3d") -> AdmissionRecord:
    return AdmissionRecord(
        schema="pratique.admission/v1",
        bundle_id=bundle,
        name=name,
        label=f"{name}@{rev8}",
        repo=None,
        commit=None,
        commit_time=None,
        taken_at="2026-03-01T00:00:00Z",
        admitted_at="2026-03-02T00:00:00Z",
        policy=BundlePolicy(name="strict", digest=Digest("0" * 64), crypto="default"),
        size=1,
        tree=f"{bundle}-00000000",
        signatures={"vetter.sig": Digest("0" * 64)},
        verity={},
    )


def alias(name: str, bundle: BundleId) -> Alias:
    return Alias(
        schema="pratique.alias/v1",
        name=name,
        moves=(Move(bundle_id=bundle, at="2026-03-02T00:00:00Z"),),
    )


def test_round_trip(store: Store) -> None:
    records.write_admission(store, record(ONE))
    assert records.read_admission(store, ONE) == record(ONE)
    records.write_alias(store, alias("tiny", ONE))
    assert records.read_alias(store, "tiny") == alias("tiny", ONE)
    assert [a.name for a in records.aliases(store)] == ["tiny"]


@pytest.mark.parametrize("reference", ["tiny", "tiny@0a1b2c3d", ONE, ONE[:9], "prod"])
def test_one_bundle_by_any_reference(store: Store, reference: str) -> None:
    records.write_admission(store, record(ONE))
    records.write_admission(store, record(TWO, "other", "99999999"))
    records.write_alias(store, alias("prod", ONE))
    assert records.resolve(store, reference).bundle_id == ONE


def test_name_decides_between_versions(store: Store) -> None:
    records.write_admission(store, record(ONE))
    records.write_admission(store, record(TWO, rev8="11111111"))
    with pytest.raises(UsageError, match="could be any of"):
        records.resolve(store, "tiny")
    records.write_alias(store, alias("tiny", TWO))
    assert records.resolve(store, "tiny").bundle_id == TWO


def test_ambiguous_prefix_is_a_usage_error(store: Store) -> None:
    records.write_admission(store, record(ONE))
    records.write_admission(store, record(TWO))
    with pytest.raises(UsageError) as caught:
        records.resolve(store, "aaaaaaaa")
    assert caught.value.exit_code == 2
    assert "more of the bundle id" in caught.value.hint


def test_name_that_is_also_a_prefix_is_ambiguous(store: Store) -> None:
    """Whoever may name bundles may not make one answer to another's id."""
    records.write_admission(store, record(ONE))
    other = BundleId("bbbbbbbb" + "3" * 56)
    records.write_admission(store, record(other, "other"))
    records.write_alias(store, alias("aaaaaaaa", other))
    with pytest.raises(UsageError):
        records.resolve(store, "aaaaaaaa")


@pytest.mark.parametrize(
    "reference", ["absent", "aaaa", "../../etc/passwd", "", "tiny@", "a" * 300]
)
def test_nothing_of_that_name(store: Store, reference: str) -> None:
    records.write_admission(store, record(ONE))
    with pytest.raises(UnreadableInput) as caught:
        records.resolve(store, reference)
    assert not isinstance(caught.value, FormatError)


def test_damaged_record_is_not_believed(store: Store) -> None:
    records.write_admission(store, record(ONE))
    path = store.admission(ONE)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StorageError, match="damaged"):
        records.read_admission(store, ONE)


def test_record_under_another_id_is_not_believed(store: Store) -> None:
    records.write_admission(store, record(ONE))
    store.admission(ONE).rename(store.admission(TWO))
    with pytest.raises(FormatError, match="another bundle"):
        records.read_admission(store, TWO)


def test_half_written_records_are_not_seen(store: Store) -> None:
    records.write_admission(store, record(ONE))
    (store.root / "admissions/.x.json.1.new").write_bytes(b"{")
    (store.root / "names/.y.json.1.new").write_bytes(b"{")
    assert [r.bundle_id for r in records.admissions(store)] == [ONE]
    assert list(records.aliases(store)) == []


def test_tree_name_cannot_lead_elsewhere(store: Store) -> None:
    with pytest.raises(ValueError, match="tree"):
        AdmissionRecord.model_validate(record(ONE).model_dump(by_alias=True) | {"tree": "../../x"})
