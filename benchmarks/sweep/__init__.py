"""Many runs from one description: the grid, its cells and their states on disk, and the engine that runs them on Ray.

The run folders are the truth; what plans and reports needs no Ray and no torch.
"""
