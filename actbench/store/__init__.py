"""Runs on disk: one folder a run, claimed while it is written, immutable once its manifest stands."""

from actbench.store.environment import environment
from actbench.store.run import FINDINGS, Run, find_run, identity_hash, list_runs
from actbench.store.writer import RunWriter, claim

__all__ = ["FINDINGS", "Run", "RunWriter", "claim", "environment", "find_run", "identity_hash", "list_runs"]
