"""Run folders side by side: grouped by what makes them comparable, as tables, beside published values.

Here live the grouping of runs into methods (`groups`), mean and spread over them, the tables, and the published values. It
reads `benchmarks.runs` alone, imports neither torch nor Avalanche nor a method, and draws nothing: `plotting` does.

To add a table format, put a file into `formats/`. A method's name, look and published rows stand in its own file.
"""
