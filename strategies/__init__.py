"""Strategies: one file for each method; the file's name is the method's name on the command line.

A method's file defines `Settings`, `Plugin` (derived from `base.StrategyPlugin`) and `ABOUT`. Methods are built from
the packages `shared`, `training`, `clip` and `numerics`; each package imports only those named after it. Nothing here
imports `benchmarks` or `plotting`.
"""
