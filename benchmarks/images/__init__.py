"""From image files to pixels: listing, reading, decoding, the cache, random crops, auxiliary images.

This package knows no task, no model and no method.
"""
