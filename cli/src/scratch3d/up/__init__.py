"""The whole mesh as local processes: a supervisor, and a Redis that comes from a wheel."""
