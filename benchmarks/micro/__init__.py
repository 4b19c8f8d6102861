"""The rendered images of the stream `micro`, their captions, and the folder of the micro CLIP (`clip/`).

This room draws with NumPy and Pillow; it knows no training and no run. `benchmarks.pretrain` trains the CLIP.
"""
