"""Does one run, from its settings to its run folder: data, the loop over tasks, evaluation, callbacks, checkpoint.

This package names no particular method.
"""
