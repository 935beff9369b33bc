"""Errors of image-service.

Unprocessable
├── UnreadableImage   422 unreadable_image
├── ImageTooLarge     422 image_too_large
├── NoObject          422 no_object
├── InvalidUrl        422 invalid_url
├── ForbiddenAddress  422 forbidden_address
└── FetchFailed       422 fetch_failed
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


class InvalidUrl(Unprocessable):
    """The text is not a URL that is fetched here."""

    code = "invalid_url"


class ForbiddenAddress(Unprocessable):
    """The URL leads to an address that requests may not name."""

    code = "forbidden_address"


class FetchFailed(Unprocessable):
    """The URL could not be fetched."""

    code = "fetch_failed"
