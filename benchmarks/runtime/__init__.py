"""What a run stands on: files, environment, devices, processes, progress.

This room knows no stream, no model and no method.
"""
