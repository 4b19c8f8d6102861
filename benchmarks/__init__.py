"""The benchmarking harness: streams, the loop over tasks, evaluation and records."""

__version__ = "0.4.0"
