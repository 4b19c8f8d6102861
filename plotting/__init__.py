"""Figures from run folders: matplotlib and what `benchmarks.comparison` groups; never torch, Avalanche or a method."""
