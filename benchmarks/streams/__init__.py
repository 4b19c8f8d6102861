"""Streams of tasks, one file for each family; the file's name is the stream's name on the command line.

The module of a family has a one-line docstring first (shown by `--list`), and does not import torch or Avalanche. It
defines `build(argument: str, data_root: Path) -> Plan`, where `argument` is the text after the colon in `--stream
folder:PATH` (empty without a colon) and `data_root` the folder of the published data sets. Where these may have CoOp's
splits, `build` has a third parameter, `splits`: `zscl` by default, or `coop`. `build` reads only what it needs to name
the tasks; `orders.arrange` turns a plan and an order into a stream. The default settings are in
`benchmarks/recipes/<family>.yaml`. This package knows no models.
"""
