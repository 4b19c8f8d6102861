"""Pretraining of the micro CLIP, from drawing pairs to the published folder. Only its command is used by others."""
