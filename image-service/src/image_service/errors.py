"""Errors of image-service.

Unprocessable
├── UnreadableImage   422 unreadable_image
├── ImageTooLarge     422 image_too_large
└── NoObject          422 no_object
"""

from scratch3d.servicekit.errors import Unprocessable


class UnreadableImage(Unprocessable):
    """The file is not a PNG, JPEG or WebP picture."""

    code = "unreadable_image"


class ImageTooLarge(Unprocessable):
    """The picture has more pixels or bytes than are read."""

    code = "image_too_large"


class NoObject(Unprocessable):
    """No object stands out from the background."""

    code = "no_object"
