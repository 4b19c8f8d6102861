"""The tests, in the same tree as the code. `conftest`, `models`, `layouts` and `run_folders` are what they share.

A test runs the real thing on tiny data; nothing of this project is mocked, and no timing is asserted.
"""
