"""Errors of reconstruction-service.

Unprocessable
├── BadViews       422 bad_views
└── NoSurface      422 no_surface
InvalidResult
├── EmptyMesh      500 empty_mesh
├── NotFinite      500 nan_vertices
└── WrongType      500 wrong_type
"""

from scratch3d.servicekit.errors import InvalidResult, Unprocessable


class BadViews(Unprocessable):
    """These views cannot be reconstructed."""

    code = "bad_views"


class NoSurface(Unprocessable):
    """The views give no surface: silhouettes that belong to no one object, or nothing dense enough."""

    code = "no_surface"


class EmptyMesh(InvalidResult):
    """The engine returned a mesh without faces."""

    code = "empty_mesh"


class NotFinite(InvalidResult):
    """The engine returned vertices that are not finite numbers."""

    code = "nan_vertices"


class WrongType(InvalidResult):
    """The engine returned something that is not a mesh."""

    code = "wrong_type"
