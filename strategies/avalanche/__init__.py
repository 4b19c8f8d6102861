"""Avalanche's own plugins, each under the name `avalanche:FILE`. They run unchanged on this project's classifier and loop.

A file here makes one plugin from its settings, and knows no other method.
"""
