"""The settings of a run: names and defaults, recipes for each stream, the command line, the registry of names, user
errors.

This package does not import torch and does not read run folders. It reads the settings of strategies from their source.
"""
