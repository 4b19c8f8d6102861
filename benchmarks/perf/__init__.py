"""The command that measures speed and memory: each part as a ratio to its lower bound, taken within one run.

A file here measures one part and is imported by nobody outside. It calls what a run calls, and writes json.
"""
