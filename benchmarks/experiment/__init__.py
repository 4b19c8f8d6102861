"""One run, from its settings to its run folder: data, the loop over tasks, evaluation, callbacks, checkpoint.

This room knows no method by its name.
"""
