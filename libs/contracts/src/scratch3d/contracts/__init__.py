"""Wire types of scratch-3d: frozen pydantic values, no input or output, no logic."""
