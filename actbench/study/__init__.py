"""Studies: a file that names many runs, their follow-ups and a baseline, and what runs it."""

from actbench.study.file import LoadedStudy, Study, load_study
from actbench.study.run import Outcome, run_study

__all__ = ["LoadedStudy", "Outcome", "Study", "load_study", "run_study"]
