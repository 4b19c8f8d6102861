"""The command that measures speed and memory: each part as a ratio to its lower bound, measured in one process in
turns.

Each file measures one part, calls the code that a run calls, and returns values that are written as json. No other
package imports it.
"""
