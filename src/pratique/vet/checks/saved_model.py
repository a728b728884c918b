"""SavedModel: a graph that touches files or runs Python is refused; any other is a program to answer for."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import saved_model
from pratique.vet.check import Check, approve, refuse
from pratique.vet.repo import Repo
from pratique.vet.roles import Role

_DANGEROUS: Final = frozenset(
    "PyFunc PyFuncStateless EagerPyFunc NumpyFunction ReadFile WriteFile MatchingFiles LoadLibrary "
    "ImmutableConst DebugIdentity DebugIdentityV2 DebugIdentityV3 DebugNumericSummaryV2 PrintV2 Print "
    "FixedLengthRecordReader FixedLengthRecordReaderV2 IdentityReader IdentityReaderV2 LMDBReader "
    "TextLineReader TextLineReaderV2 TFRecordReader TFRecordReaderV2 WholeFileReader WholeFileReaderV2 "
    "FixedLengthRecordDataset FixedLengthRecordDatasetV2 TextLineDataset TFRecordDataset "
    "TFRecordDatasetV2 CSVDataset CSVDatasetV2 SqlDataset SaveSlices Save CacheDataset CacheDatasetV2 "
    "SnapshotDataset SnapshotDatasetV2 LoadDataset SaveDataset SaveDatasetV2 LMDBDataset "
    "DistributedSave RegisterDataset RegisterDatasetV2 DataServiceDataset RpcClient RpcCall RpcServer "
    "GenerateVocabRemapping LoadAndRemapMatrix WriteSummary CreateSummaryFileWriter "
    "CreateSummaryDbWriter ExecuteTPUEmbeddingPartitioner CollectiveOp MergeV2Checkpoints XlaLaunch "
    "RemoteCall RemoteFusedGraphExecute GcsConfigureCredentials BigtableClient".split()
) - {"MergeV2Checkpoints", "Print", "PrintV2"}
_REMEDY: Final = "publish the weights as safetensors"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.with_role(Role.SAVED_MODEL):
        if not repo.here(entry.path):
            continue
        if entry.name.lower() == "saved_model.pb" or entry.name.lower().endswith(".pb"):
            try:
                with repo.mapped(entry.path) as data:
                    operations = (
                        saved_model.operations(data) if _is_graph(entry.name) else frozenset()
                    )
            except FormatError as error:
                yield refuse(CHECK.id, entry.path, f"is no SavedModel: {error}", _REMEDY)
                continue
            if bad := sorted(operations & _DANGEROUS):
                yield refuse(
                    CHECK.id,
                    entry.path,
                    f"its graph uses {', '.join(bad[:4])}, which reach files, the network or Python",
                    _REMEDY,
                    Severity.CRITICAL,
                )
                continue
        yield approve(
            CHECK.id,
            entry.path,
            "belongs to a TensorFlow graph: a program that runs when it is loaded",
            f"allow it by digest after a review, or {_REMEDY}",
            digest=repo.digest_for(entry.path),
        )


def _is_graph(name: str) -> bool:
    return name.lower() not in {"keras_metadata.pb", "fingerprint.pb"}


CHECK: Final = Check("saved-model", "TensorFlow graphs by allowance only", Stage.CONTENT, _run)
