"""Tensor mathematics: SVD, subspaces, precision, exchange between processes. Knows no CLIP, no Avalanche, no method."""
