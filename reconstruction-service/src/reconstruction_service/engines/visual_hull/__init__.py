"""Carving: calibrated silhouettes become a signed field, the field a watertight coloured mesh."""
