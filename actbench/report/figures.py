"""The figures of runs: `plot_activations` (what was learned) and `plot_curves` (how the loss fell)."""

from actbench.report.figures_activations import plot_activations
from actbench.report.figures_curves import plot_curves

__all__ = ["plot_activations", "plot_curves"]
