"""The gate: default deny by role and strict parse. No network, no torch, no repository code is run.

``judge(candidate, policy, stage)`` returns a `Verdict`; `LocalGate(policy)` is the same as a `Gate`.
Checks run in a confined child (`pratique.jobs.vet`); the parent reads no byte of the repository.
"""

from pratique.vet.judging import LocalGate, judge

__all__ = ["LocalGate", "judge"]
