"""The network is TripoSR: every number the reference gives, and every key of its checkpoint."""

import inputs
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import GOLDEN, Golden
from tsr.system import TSR

TOL = inputs.TOL


class Seen(dict[str, Tensor]):
    """What modules gave out, by a name for each."""

    def watch(self, **modules: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        def keeper(name: str):  # type: ignore[no-untyped-def]
            return lambda _module, _given, out: self.__setitem__(name, out)

        return [module.register_forward_hook(keeper(name)) for name, module in modules.items()]


@pytest.fixture(scope="module")
def seen(tiny: TSR) -> Seen:
    """One picture through the tiny network."""
    found = Seen()
    vit, backbone = tiny.image_tokenizer.model, tiny.backbone
    blocks = backbone.transformer_blocks
    handles = found.watch(
        vit_embeddings=vit.embeddings,
        vit_layer0=vit.encoder.layer[0],
        image_tokens=vit,
        bb_groupnorm=backbone.norm,
        bb_proj_in=backbone.proj_in,
        bb_block0_attn1=blocks[0].attn1,
        bb_block0_attn2=blocks[0].attn2,
        bb_block0_ff=blocks[0].ff,
        bb_block0=blocks[0],
        bb_block_mid=blocks[len(blocks) // 2],
        bb_block_last=blocks[-1],
        bb_out=backbone,
    )
    found["scene_codes"] = tiny(inputs.image_u8())
    for handle in handles:
        handle.remove()
    # (channels, tokens) where the reference's list has (tokens, channels)
    return Seen({k: v[0].T if k in {"bb_groupnorm", "bb_out"} else v[0] for k, v in found.items()})


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("vit_embeddings", TOL["vit"]),
        ("vit_layer0", TOL["vit"]),
        ("image_tokens", TOL["image_tokens"]),
        *((f"bb_{part}", TOL["backbone"]) for part in ("groupnorm", "proj_in", "block0_attn1", "block0_attn2")),
        *((f"bb_{part}", TOL["backbone"]) for part in ("block0_ff", "block0", "block_mid", "block_last", "out")),
        ("scene_codes", TOL["scene_codes"]),
    ],
)
def test_every_step_from_picture_to_planes(seen: Seen, golden: Golden, name: str, limit: float) -> None:
    assert golden.off(f"tiny_{name}", seen[name]) < limit


def test_positions_are_spread_as_the_weights_were_trained(tiny: TSR, golden: Golden) -> None:
    size = tiny.cfg.cond_image_size
    positions = tiny.image_tokenizer.model.embeddings.positions(size, size)
    assert golden.off("tiny_pos_encoding", positions[0]) < TOL["pos_encoding"]


def test_pictures_are_resized_as_the_reference_does(tiny: TSR, golden: Golden) -> None:
    assert golden.off("tiny_cond_image_s8", tiny.preprocess(inputs.image_u8())[0][::8, ::8]) < 1e-6
    assert golden.off("prep_down128", tiny.preprocess(inputs.image_u8())[0][::4, ::4]) < 1e-6
    wide = TSR.__new__(TSR)  # only the size of the picture matters here
    nn.Module.__init__(wide)
    wide.cfg, wide.tokenizer = tiny.cfg.__class__(), tiny.tokenizer
    assert golden.off("prep_cond512", wide.preprocess(golden["prep_rgb_u8"])[0][::7, ::7]) < 1e-6


@pytest.mark.parametrize("where", ["q", "qe", "syn", "syne"])
def test_density_and_colour_at_points(tiny: TSR, seen: Seen, golden: Golden, where: str) -> None:
    """Within the box, at its faces and beyond; of the network's planes and of made-up ones."""
    made_up = inputs.synthetic_triplane(tiny.cfg.post_processor.out_channels, 2 * tiny.cfg.tokenizer.plane_size)
    planes = torch.from_numpy(made_up) if where.startswith("syn") else seen["scene_codes"]
    points = torch.from_numpy(inputs.points_edge() if where.endswith("e") else inputs.points_in())
    found = tiny.renderer.query_triplane(tiny.decoder, points, planes)
    for name in ("density", "features", "color"):
        assert golden.off(f"tiny_{where}_{name}", found[name]) < TOL[name]
    expected = golden[f"tiny_{where}_density_act"]
    np.testing.assert_allclose(found["density_act"], expected, rtol=inputs.RTOL_DENSITY_ACT)


def test_chunks_change_nothing(tiny: TSR, seen: Seen) -> None:
    points = torch.from_numpy(inputs.points_in()).view(4, -1, 3)
    whole = tiny.renderer.query_triplane(tiny.decoder, points, seen["scene_codes"])
    tiny.renderer.set_chunk_size(100)
    parts = tiny.renderer.query_triplane(tiny.decoder, points, seen["scene_codes"])
    tiny.renderer.set_chunk_size(0)
    assert whole["color"].shape == (4, 128, 3)
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="chunk_size"):
        tiny.renderer.set_chunk_size(-1)


def test_pictures_of_the_planes(tiny: TSR, seen: Seen, golden: Golden) -> None:
    frames = tiny.render(seen["scene_codes"][None], 4, elevation_deg=20, height=32, width=32, return_type="np")[0]
    for number in (0, 1):
        assert golden.off(f"tiny_render32_view{number}", frames[number]) < TOL["render"]
    made_up = torch.from_numpy(inputs.synthetic_triplane(8, 16))[None]
    frames = tiny.render(made_up, 4, elevation_deg=20, height=32, width=32, return_type="np")[0]
    assert golden.off("tiny_syn_render32_view1", frames[1]) < TOL["render"]


def test_three_views_are_turned_by_a_third_each(tiny: TSR, seen: Seen) -> None:
    codes = seen["scene_codes"][None]
    three = tiny.render(codes, 3, height=16, width=16, return_type="np")[0]
    six = tiny.render(codes, 6, height=16, width=16, return_type="np")[0]
    for number in range(3):
        np.testing.assert_allclose(three[number], six[2 * number], atol=1e-4)


def test_a_batch_is_its_pictures_one_by_one(tiny: TSR) -> None:
    one, other = inputs.image_u8(), inputs.image_u8()[::-1].copy()
    both = tiny([one, other])
    torch.testing.assert_close(both, torch.cat([tiny(one), tiny(other)]), rtol=1e-4, atol=2e-5)


def test_bfloat16_stays_near(tiny: TSR, seen: Seen) -> None:
    rounded = TSR(inputs.TINY)
    rounded.load_state_dict(tiny.state_dict())
    rounded.set_precision("bf16")
    codes = rounded(inputs.image_u8())[0]
    assert codes.dtype == torch.float32
    deviation = (codes - seen["scene_codes"]).std() / seen["scene_codes"].std()
    assert 1e-5 < float(deviation) < 0.05
    with pytest.raises(ValueError, match="precision is one of"):
        rounded.set_precision("fp8")


def test_the_released_dimensions_are_the_default() -> None:
    listed = dict(line.split("\t") for line in (GOLDEN / "state_dict.txt").read_text().splitlines())
    with torch.device("meta"):
        network = TSR()
    assert {k: str(tuple(v.shape)) for k, v in network.state_dict().items()} == listed
    assert len(listed) == 549 and sum(v.numel() for v in network.state_dict().values()) == 419_275_628


def test_norms_have_the_released_epsilons() -> None:
    """Too small to show in the numbers above."""
    with torch.device("meta"):
        network = TSR()
    of_encoder = {m.eps for m in network.image_tokenizer.modules() if isinstance(m, nn.LayerNorm)}
    of_blocks = {m.eps for m in network.backbone.modules() if isinstance(m, nn.LayerNorm)}
    assert (of_encoder, of_blocks, network.backbone.norm.eps) == ({1e-12}, {1e-5}, 1e-6)


def test_pictures_that_are_none_are_refused(tiny: TSR) -> None:
    with pytest.raises(ValueError, match="no picture"):
        tiny([])
    with pytest.raises(ValueError, match=r"\(height, width, 3\)"):
        tiny(np.zeros((8, 8, 4), np.uint8))
    with pytest.raises(ValueError, match="the weights are on cpu"):
        tiny(inputs.image_u8(), device="meta")
