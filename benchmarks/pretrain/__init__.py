"""The command that pretrains the micro CLIP: it draws the pairs, trains, and writes the model's folder.

No other package imports it, and it knows no strategy and no run folder.
"""
