"""The figures: `plot_activations` and `plot_coefficients` (what was learned), `plot_curves` (how the loss fell)."""

from actbench.report.figures_activations import plot_activations, plot_coefficients
from actbench.report.figures_curves import plot_curves

__all__ = ["plot_activations", "plot_coefficients", "plot_curves"]
