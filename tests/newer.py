"""The methods that came with release 0.4: their reference runs are of later commits than the others'."""

NEWER = [
    "activation_null", "codyra", "ema", "keeplora", "magmax", "nusa_self", "opcm", "oplora", "rail", "task_arithmetic",
]  # fmt: skip
