"""Run folders side by side: grouped by what makes them comparable, as tables in five formats, beside published figures."""
