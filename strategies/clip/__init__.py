"""CLIP as it is trained here: classifier over prompts, attention, weight matrices. Knows no method and no training loop."""
