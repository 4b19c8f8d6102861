"""Compares run folders: groups comparable runs, and makes tables of them, also next to published results.

This package groups runs into methods (`groups`), computes mean and spread, makes the tables, and holds the published
results. It reads run folders through `benchmarks.runs` and imports no torch, Avalanche or method; figures are drawn by
`plotting`.

To add a table format, add a file to `formats/`. A method's title, colour and published results are in its own file.
"""
