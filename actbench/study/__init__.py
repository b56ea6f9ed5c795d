"""Studies: a file that names many runs, their follow-ups and a baseline, and what runs it."""

from actbench.study.changes import Changes
from actbench.study.file import LoadedStudy, Study, load_study
from actbench.study.graph import Graph, open_study, plan_graph
from actbench.study.run import Outcome, report_study, run_study

__all__ = [
    "Changes",
    "Graph",
    "LoadedStudy",
    "Outcome",
    "Study",
    "load_study",
    "open_study",
    "plan_graph",
    "report_study",
    "run_study",
]
