"""The run folder: its files with their columns, written and read, and the metrics of an accuracy matrix.

This room imports neither torch nor Avalanche, and knows no method.
"""
