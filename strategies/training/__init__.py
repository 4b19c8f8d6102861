"""The training loop under Avalanche: template, loader, and tasks as experiences. It imports no method."""

FIGURES_VERSION = 1  # raise by hand when a change in this package alters the results of methods
