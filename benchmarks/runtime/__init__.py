"""The technical basis of a run: files, environment, devices, processes, progress.

This package knows no stream, no model and no method.
"""
