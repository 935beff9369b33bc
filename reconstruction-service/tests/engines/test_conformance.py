"""What every registered engine must do, whatever it is."""

import pytest

from reconstruction_service.engines import GROUP
from reconstruction_service.settings import Settings
from reconstruction_service.work import ReconstructWork
from scratch3d.contracts.meshes import ReconstructResult
from scratch3d.contracts.views import VIEW_SETS, View
from scratch3d.geometry.glb import read_part
from scratch3d.geometry.measure import closedness
from scratch3d.servicekit import registry
from scratch3d.servicekit.errors import Cancelled
from scratch3d.servicekit.registry import UnknownEngine

ENGINES = registry.names(GROUP)


def test_there_are_engines_and_unknown_ones_are_named() -> None:
    assert "visual-hull" in ENGINES
    with pytest.raises(UnknownEngine, match=r"known here: .*visual-hull"):
        registry.load(GROUP, "no-such-engine")


@pytest.mark.parametrize("name", ENGINES)
def test_card_says_what_it_is(name: str, data_dir) -> None:
    card = registry.load(GROUP, name)(Settings(data_dir=data_dir)).card()
    assert card.licence_code and card.summary and card.version
    assert card.available or card.reason
    assert set(card.view_sets.values()) <= set(VIEW_SETS)


@pytest.mark.parametrize("name", ENGINES)
def test_makes_a_closed_mesh_of_views_tells_its_progress_and_repeats_itself(
    name: str, data_dir, sphere_views: list[View]
) -> None:
    work = ReconstructWork(name, Settings(data_dir=data_dir))
    work.load()
    told: list[tuple[float, str]] = []
    request = {
        "views": [v.model_dump(mode="json") for v in sphere_views],
        "resolution": 48,
        "output_prefix": "outputs/test/1",
    }
    made = ReconstructResult.model_validate(work.run(request, lambda f, p: told.append((f, p))))
    part = read_part(work.artifacts.get(made.mesh))
    assert closedness(part.mesh.faces).watertight
    assert part.mesh.colours_linear is not None or (part.mesh.uv is not None and part.material.texture_png)
    assert len(told) >= 3 and [f for f, _ in told] == sorted(f for f, _ in told)
    again = ReconstructResult.model_validate(work.run(request, lambda *_: None))
    assert again.mesh.sha256 == made.mesh.sha256
    work.close()


@pytest.mark.parametrize("name", ENGINES)
def test_stops_when_told(name: str, data_dir, sphere_views: list[View]) -> None:
    def stop(_: float, __: str) -> None:
        raise Cancelled()

    work = ReconstructWork(name, Settings(data_dir=data_dir))
    work.load()
    with pytest.raises(Cancelled):
        work.run({"views": [v.model_dump(mode="json") for v in sphere_views], "resolution": 48}, stop)
