"""What several methods are made of: low-rank updates, distillation, mixtures, task decision. Knows no single method."""

FIGURES_VERSION = 1  # raised by hand when a change here changes what methods compute
