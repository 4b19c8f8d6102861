"""What is measured of a model or a run besides accuracy, one file each. Knows no method."""
