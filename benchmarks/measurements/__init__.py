"""What is measured of a run besides accuracy, one file each: found, not listed.

A measurement's file has a class `Meter`, derived from `base.Measurement`. It declares its table, the columns with their
units, and when it is taken; `measure` yields rows. It knows no method by name, and no stream.
"""
