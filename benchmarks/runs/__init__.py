"""The run folder: reading and writing its files and their columns, and the metrics of an accuracy matrix.

This package imports no torch and no Avalanche, and knows no method.
"""
