"""Settings of a run: their names and defaults, recipes, command line, errors. Knows no torch, no run folder."""
