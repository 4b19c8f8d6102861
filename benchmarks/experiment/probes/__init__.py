"""Probes: what CLIP knew outside the stream, tested zero-shot in every state, one file for each kind.

A file here with a function `build(argument)` is a probe, which `--probe NAME:ARGUMENT` names. It returns `base.Probe`
objects: images, texts, and how the scores of the one for the other become values. It knows no method and no stream.
"""
