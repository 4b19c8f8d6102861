"""What several methods are built from: low-rank updates, distillation, mixtures of experts, decision on the task.

Nothing in this package imports a single method.
"""

# Raise by hand when a change in this package, or in strategies/clip, alters the results of methods. 2: the last block is
# computed at one token, and prompts without their padding, so dropout draws other masks.
FIGURES_VERSION = 2
# The same, under `--precision bf16` alone. 2: each step uses the present weights; some versions used those of the first step.
BF16_VERSION = 2
