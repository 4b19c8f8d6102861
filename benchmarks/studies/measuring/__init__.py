"""What studies measure besides their runs: a file of the study's name, whose `measure` returns the rows of a cell.

It stands apart from the study, whose tables and figure need neither torch nor the data.
"""
