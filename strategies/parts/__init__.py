"""What the methods share: the CLIP classifier, the training template, the subspace mathematics, the low-rank update."""
