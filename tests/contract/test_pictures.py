"""What is promised of pictures, measured on the benchmarks' own cases (the tables are in benchmarks/)."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import inflate
import matting


@pytest.fixture(scope="module")
def cuts() -> list[matting.Row]:
    return [matting.measure(case) for case in matting.CASES]


def test_cuts_are_right_where_the_border_is_background(cuts: list[matting.Row]) -> None:
    whole = [row.iou for row in cuts if row.case.whole]
    assert len(whole) >= 12 and np.mean(whole) >= matting.LEAST_MEAN, whole


def test_every_bad_cut_says_so(cuts: list[matting.Row]) -> None:
    silent = [(row.case.name, row.iou) for row in cuts if row.iou < matting.LEAST_SILENT and not row.warnings]
    assert not silent
    good = [row for row in cuts if row.iou > 0.99]
    assert sum(not row.warnings for row in good) > len(good) / 2, "a warning that always comes says nothing"


def test_the_same_picture_is_cut_the_same_way_twice() -> None:
    case = matting.CASES[8]
    shown, _ = matting.picture_of(case)
    first, second = (matting.Classical(None).cut(shown).rgba for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    "name", ["fish from the side", "mug, a hole", "ladder, thin", "several parts", "ring of checks"]
)
def test_an_inflated_picture_is_the_picture(name: str) -> None:
    row = inflate.measure(name)
    assert row.ssim >= 0.95 and row.watertight
    assert row.euler == row.expected_euler
