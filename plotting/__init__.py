"""Plots from run folders: pandas and matplotlib only, never torch or Avalanche."""
