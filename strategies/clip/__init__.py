"""CLIP as the methods train it: a classifier over class prompts, its attention and its weight matrices.

Nothing in this package imports a method or the training loop.
"""
