"""Background removal, by entry point."""

#: Entry point group; see scratch3d.servicekit.registry.
GROUP = "scratch3d.matting"
