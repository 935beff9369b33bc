"""Prompts or pictures in, calibrated views out."""
