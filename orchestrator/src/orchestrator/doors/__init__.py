"""Doors: each parses its dialect, calls `Jobs`, and translates the answer."""
