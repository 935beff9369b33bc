"""A raw mesh in, files people can ship out."""
