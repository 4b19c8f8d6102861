"""Figures from run folders, one file each: found, not listed.

This room draws with matplotlib what `benchmarks.comparison` groups. It imports neither torch nor Avalanche nor a method.
"""
