"""The training loop under Avalanche: template, loader, tasks as experiences. Knows no method."""

FIGURES_VERSION = 1  # raised by hand when a change here changes what methods compute
