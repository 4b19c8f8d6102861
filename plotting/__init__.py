"""Figures of run folders, one file for each figure; files are discovered, not listed.

This package draws with matplotlib the groups of runs of `benchmarks.comparison`. It imports no torch, Avalanche or
method.
"""
