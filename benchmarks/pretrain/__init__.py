"""The command that pretrains the micro CLIP, from drawing pairs to the published folder.

Nobody imports it, and it knows no strategy and no run folder.
"""
