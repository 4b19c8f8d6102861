"""The rendered images of the stream `micro`, their captions, and the weights of the micro CLIP (folder `clip/`).

The micro CLIP is this project's own small CLIP, pretrained on such images of 32x32 pixels. This package draws with
NumPy and Pillow; it knows no training and no run. `benchmarks.pretrain` trains the model.
"""
