"""The figures: `plot_activations` and `plot_coefficients` (what was learned), `plot_curves` (how the loss fell),
`plot_forest` (every difference beside zero), `plot_profiles` (how fine-tuning went over all tasks)."""

from actbench.report.figures_activations import plot_activations, plot_coefficients
from actbench.report.figures_curves import plot_curves
from actbench.report.figures_forest import plot_forest
from actbench.report.figures_profiles import plot_profiles

__all__ = ["plot_activations", "plot_coefficients", "plot_curves", "plot_forest", "plot_profiles"]
