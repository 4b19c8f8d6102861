"""The published data sets: facts about each, and functions that open them in the data root, without writing there.

This package knows no streams and no models. A data set is one file of this folder, named like the data set in lower
case; files are discovered, not listed. A file defines

- `INFO = Info(...)`, with literal values, since it is read without importing the file;
- `read(root: Path) -> tuple[Part, Part]`, which returns the training and test images; on damaged files it may raise
  anything;
- `download(root: Path)`, which downloads the data set with torchvision, if `INFO.download` is true.

The file may import torch and torchvision at its top: it is imported when the data set is opened or downloaded, not
before.
"""
