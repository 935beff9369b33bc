"""Models that are fetched: what there is, what of it is here, and whether it is whole."""
