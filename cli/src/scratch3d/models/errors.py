"""What can go wrong with a model, as sentences for the person at the terminal."""


class ModelsError(Exception):
    """Base class; the message says what is wrong and what mends it."""


class BadCatalogue(ModelsError):
    """A catalogue that cannot be read."""


class UnknownModel(ModelsError):
    """No catalogue has this id; the message names those that exist."""


class FetchFailed(ModelsError):
    """A model could not be fetched; what had already come is kept for the next try."""


class WrongContent(FetchFailed):
    """What came is not what the catalogue says, and was removed."""
