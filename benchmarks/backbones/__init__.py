"""Pretrained CLIPs, by name, tag, folder or file. Weights are read without running code.

This room knows no stream, no method and no run folder.
"""
