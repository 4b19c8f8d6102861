"""Loads pretrained CLIP models by name, tag, folder or file. Reading weights never executes code from the file.

This package knows no stream, no method and no run folder.
"""
