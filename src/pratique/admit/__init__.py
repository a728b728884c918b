"""Path + trust + policy → AdmittedBundle. Start with `admit.py`: it is short and numbered.

What others may rely on::

    pratique.admit.admit.admit(bundle, Terms(home, trust, policy, gate, now), Naming()) -> AdmittedBundle
    pratique.admit.load.open_admitted(home, reference, *, now, policy, progress=None) -> AdmittedBundle
    pratique.admit.load.check_signatures(store, record, *, trust, policy, now) -> VerifiedStatement
    pratique.admit.verify.verify_bundle(bundle, *, trust, policy, now, …) -> VerifiedBundle
    pratique.store.records.resolve(store, reference) -> AdmissionRecord

An `AdmittedBundle` has `.bundle_id .name .label .model_dir .files .document .approvals
.permitted_rungs .permitted_variants .expires .statement`. `model_dir` is a real folder of read-only
regular files, loaded in place. Every process that wants one calls `open_admitted`: proofs do not
leave their process.
"""
