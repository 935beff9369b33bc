"""Views in, one mesh out."""
