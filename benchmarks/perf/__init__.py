"""How fast the harness is, as ratios measured in one run."""
