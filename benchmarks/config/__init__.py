"""The settings of a run: their names and defaults, recipes by stream, the command line, the registry of names, user errors.

This room imports no torch and knows no run folder. It reads the settings of strategies from their source.
"""
