"""A small scene grammar and an exact renderer: real views of a real scene, no weights."""
