"""What is measured of a run besides accuracy, one file for each measurement; files are discovered, not listed.

The file of a measurement defines a class `Meter`, derived from `base.Measurement`. It declares its table, the columns
with their units, and when it is taken; its method `measure` yields rows. Measurements know no particular method or
stream.
"""
