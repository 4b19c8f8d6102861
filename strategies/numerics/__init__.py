"""Tensor mathematics: SVD, subspaces, numerical precision, communication between processes.

Nothing in this package imports CLIP, Avalanche or a method.
"""
