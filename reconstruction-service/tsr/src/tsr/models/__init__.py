"""The parts of the network; attribute names are those of the released checkpoint."""
