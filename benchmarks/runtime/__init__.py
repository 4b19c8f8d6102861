"""What a run stands on: files, environment, devices, processes, progress. Knows no stream and no method."""
