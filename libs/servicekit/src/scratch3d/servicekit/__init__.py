"""Seven rooms that every process shares; the list is closed (see ARCHITECTURE.md)."""
