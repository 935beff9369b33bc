"""The command `scratch3d`."""
