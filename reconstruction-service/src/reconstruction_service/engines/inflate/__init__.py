"""One picture: its outline swells to a closed solid, the picture itself is the texture."""
