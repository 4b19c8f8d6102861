"""The run folder: its files, written and read, and the metrics of an accuracy matrix. Imports no torch."""
