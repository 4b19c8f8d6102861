"""Avalanche's own plugins, under the names `avalanche:FILE`.

They run unchanged on this project's classifier and training loop. Each file here makes one plugin from its settings,
and imports no other method.
"""
