"""What several methods are built from: low-rank updates, distillation, mixtures of experts, decision on the task.

Nothing in this package imports a single method.
"""

FIGURES_VERSION = 1  # raise by hand when a change in this package alters the results of methods
