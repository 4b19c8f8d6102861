"""Loggers: what a run folder holds goes to TensorBoard, Weights & Biases or another service, state by state.

A logger is a file here with a class `Logger`, which `--log NAME` names; see `base.py`.
"""
