"""From a picture to tokens, and from tokens to planes."""
