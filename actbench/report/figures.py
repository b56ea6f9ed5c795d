"""The figures: `plot_activations`, `plot_by_layer` and `plot_by_model` (what was learned), `plot_over_training` (how it
came about), `plot_distances` and `plot_drift` (how far curves are apart), `plot_curves` (how the loss fell),
`plot_forest` (every difference beside zero), `plot_profiles` (how fine-tuning went over all tasks)."""

from actbench.report.figures_activations import plot_activations, plot_by_layer, plot_by_model
from actbench.report.figures_curves import plot_curves
from actbench.report.figures_distances import plot_distances, plot_drift
from actbench.report.figures_forest import plot_forest
from actbench.report.figures_over_training import plot_over_training
from actbench.report.figures_profiles import plot_profiles

__all__ = [
    "plot_activations",
    "plot_by_layer",
    "plot_by_model",
    "plot_curves",
    "plot_distances",
    "plot_drift",
    "plot_forest",
    "plot_over_training",
    "plot_profiles",
]
