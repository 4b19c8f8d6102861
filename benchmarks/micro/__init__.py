"""The rendered images of the stream `micro`, their captions, and the weights of the micro CLIP (folder `clip/`).

This package draws with NumPy and Pillow; it knows no training and no run. `benchmarks.pretrain` trains the CLIP.
"""
