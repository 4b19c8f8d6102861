"""Strategies: one file for each method, its name the name on the command line."""
