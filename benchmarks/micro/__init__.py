"""The small pictures behind the stream `micro`, and the pretraining of its CLIP."""
