"""Pretrained CLIPs: by name, tag, folder or file; weights are read without running code. Knows no stream."""
