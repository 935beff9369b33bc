"""Seeds of the repetitions, and the table of results in README.md."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

FULL = bool(os.environ.get("FULL"))
README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def reps(in_ci: int = 2) -> int:
    """How often a fault is repeated: 20 times with FULL, else a few times."""
    return 20 if FULL else in_ci


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "reps(n): repetitions when FULL is not set, 2 by default")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("reps")
    chosen = os.environ.get("FAULT_SEEDS", "")
    seeds = (
        [int(word) for word in chosen.split(",")] if chosen else range(1, reps(*(marker.args if marker else ())) + 1)
    )
    metafunc.parametrize("seed", seeds)


@dataclass
class _Row:
    seeds: list[str] = field(default_factory=list)
    runs: int = 0
    passed: int = 0
    takeovers: list[float] = field(default_factory=list)


_ROWS: dict[str, _Row] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call" or report.failed:
        row = _ROWS.setdefault(f"{item.path.stem}: {item.originalname}", _Row())  # type: ignore[attr-defined]
        row.runs += 1
        row.passed += report.passed
        seed = getattr(item, "callspec", None) and item.callspec.params.get("seed")  # type: ignore[attr-defined]
        if seed is not None and str(seed) not in row.seeds:
            row.seeds.append(str(seed))
        row.takeovers += [float(value) for name, value in item.user_properties if name == "takeover_s"]
    return report


def pytest_sessionfinish() -> None:
    """With WRITE_TABLE, the rows of what ran are written into README.md; the others stay."""
    if not os.environ.get("WRITE_TABLE"):
        return
    head, rest = README.read_text().split(BEGIN)
    before, tail = rest.split(END)
    lines = {line.split(" | ")[0]: line for line in before.splitlines() if line.startswith("| test_")}
    for name, row in _ROWS.items():
        worst = f"{max(row.takeovers):.1f}" if row.takeovers else ""
        lines[f"| {name}"] = f"| {name} | {row.runs} | {row.passed} | {_span(row.seeds)} | {worst} |"
    title = ["| fault | repetitions | passed | seeds | worst takeover, s |", "|---|---|---|---|---|"]
    README.write_text("\n".join([head + BEGIN, *title, *(lines[name] for name in sorted(lines)), END + tail]))


def _span(seeds: list[str]) -> str:
    return f"{seeds[0]}–{seeds[-1]}" if len(seeds) > 3 else ", ".join(seeds)
