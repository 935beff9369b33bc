"""Errors of postprocess-service.

Unprocessable
└── BadMesh          422 bad_mesh
InvalidResult
└── NothingLeft      500 nothing_left
"""

from scratch3d.servicekit.errors import InvalidResult, Unprocessable


class BadMesh(Unprocessable):
    """The file is not a mesh that can be worked on."""

    code = "bad_mesh"


class NothingLeft(InvalidResult):
    """Nothing was left of the mesh after cleaning."""

    code = "nothing_left"
