"""The published data sets: what is known about each, and opening them from below the data root. Nothing is written there.

This room knows no streams and no models. A data set is one file here, called as it is in lower case, found and not listed:

- `INFO = Info(...)`, every field written out, since it is read without importing the file;
- `read(root: Path) -> tuple[Part, Part]`, the training and the test images; it may raise anything over damaged files;
- `download(root: Path)`, which fetches it as torchvision does, where `INFO.download` says that it can.

The file may import torch and torchvision at its top: it is imported when the data set is opened or fetched, not before.
"""
