"""Strategies: one file for each method, its name the name on the command line.

A method's file has `Settings`, `Plugin` (derived from `base.StrategyPlugin`) and `ABOUT`. Methods are made of `shared`,
`training`, `clip` and `numerics`: each of these knows only those named after it. Nothing here imports `benchmarks` or
`plotting`.
"""
