"""From image files to pixels: listing, reading, decoding, the cache, crops, auxiliary images.

This room knows no task, no model and no method.
"""
