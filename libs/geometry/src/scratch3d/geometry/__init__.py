"""Geometry, once: right-handed, +Y up, +Z towards the viewer of the front view, metres, faces counter-clockwise."""
