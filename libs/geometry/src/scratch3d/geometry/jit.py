"""A typed door to numba: compiled on first use, kept on disk, never fast-math (results stay the same bytes)."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` to machine code on its first call."""
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True)(function))


def parallel_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """As `kernel`, its `prange` loops over threads; each iteration must write only its own places."""
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True, parallel=True)(function))


#: A `range` whose turns run in parallel inside a `parallel_kernel`.
prange: type[range] = numba.prange
