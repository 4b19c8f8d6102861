"""Streams: what a task is. One file here for each family of streams, its name the name on the command line.

A family's module starts with a one-line docstring (shown by `--list`), imports neither torch nor Avalanche when it is
imported, and has `build(argument: str, data_root: Path) -> Plan`, where `argument` is what follows the colon in
`--stream folder:PATH` (empty without one) and `data_root` the folder in which published data sets lie. `build` reads no more
than it needs to name the tasks; `orders.arrange` makes a plan and an order into a stream. Its default settings stand in
`benchmarks/config/recipes/<family>.yaml`. This room knows no models.
"""
