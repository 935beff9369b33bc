"""What the road promises of carved meshes, measured against the true scenes (the table is in benchmarks/)."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import oracle

GRID = 80
#: Every third shape of the table; the whole of it is printed by the benchmark.
NAMES = oracle.SHAPES[::3]


@pytest.fixture(scope="module")
def solids() -> list[oracle.Row]:
    oracle.SILHOUETTE_PX = 2048
    return [
        oracle.measure(name, f"a {oracle.COLOURS[i % 6]} {name}", "carve-8", 256, grid=GRID)
        for i, name in enumerate(NAMES)
    ]


def test_every_mesh_is_closed(solids: list[oracle.Row]) -> None:
    assert all(row.watertight for row in solids)


def test_volume_equals_the_exact_hull(solids: list[oracle.Row]) -> None:
    found = [row.hull_iou for row in solids]
    assert np.mean(found) >= 0.98 and min(found) >= 0.94, found


def test_truth_is_as_near_as_the_method_allows(solids: list[oracle.Row]) -> None:
    assert all(row.truth_iou >= 0.97 * row.exact_truth_iou for row in solids)
    assert np.mean([row.exact_truth_iou for row in solids]) >= 0.95


def test_silhouettes_are_the_pictures(solids: list[oracle.Row]) -> None:
    assert np.mean([row.silhouette_iou for row in solids]) >= 0.985
    assert min(row.silhouette_worst for row in solids) >= 0.95


def test_unlit_colours_are_right(solids: list[oracle.Row]) -> None:
    scenes = [oracle.measure(p, p, "carve-8", 256, grid=GRID) for p in oracle.SCENES[:2]]
    assert np.mean([row.delta_e for row in (*solids, *scenes)]) < 4
    assert all(row.watertight for row in scenes)


def test_delta_e_agrees_with_published_pairs() -> None:
    # Sharma, Wu & Dalal 2005, table 1, pairs 1 and 25, through our own formula on Lab values.
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ]
    for one, other, expected in pairs:
        labs = iter((np.array([one]), np.array([other])))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(oracle, "lab_of", lambda _, labs=labs: next(labs))
            assert oracle.delta_e2000(np.zeros((1, 3)), np.zeros((1, 3)))[0] == pytest.approx(expected, abs=1e-4)
