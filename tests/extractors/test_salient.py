import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from salvit.extractors.cp import cp_als
from salvit.extractors.salient import SalientAttention


def last_attention(vit: VisionTransformer, images: torch.Tensor, block: int = -1) -> torch.Tensor:
    """Patch-to-patch attention [B, heads, hw, h, w] of a block, by a hook on timm's unfused path."""
    attention = vit.blocks[block].attn
    fused, attention.fused_attn, recorded = attention.fused_attn, False, []
    handle = attention.attn_drop.register_forward_hook(lambda module, args, output: recorded.append(output))
    vit(images)
    handle.remove()
    attention.fused_attn = fused
    prefix, (h, w) = vit.num_prefix_tokens, vit.patch_embed.dynamic_feat_size(images.shape[-2:])
    return recorded[0][:, :, prefix:, prefix:].unflatten(3, (h, w))


PREFIXES = [{}, {"class_token": False, "global_pool": "avg"}, {"reg_tokens": 3}]
every_prefix = pytest.mark.parametrize("options", PREFIXES)


@every_prefix
def test_locations_are_the_attention_of_each_modes_strongest_patch(make_vit, images, options):
    vit = make_vit(**options)
    maps = SalientAttention(k=20, rank=30, order="weight")(vit, images)
    attention = last_attention(vit, images)
    queries = cp_als(attention, 30).factors[1].numpy()
    strongest = np.abs(queries).argmax(axis=1)
    assert (strongest != queries.argmax(axis=1)).any()  # negative entries count as well
    for sample in range(len(images)):
        for mode in range(20):
            expected = attention[sample, :, strongest[sample, mode]].mean(dim=0)
            torch.testing.assert_close(maps[sample, mode], expected, rtol=0, atol=1e-12)


@every_prefix
def test_components_are_the_spatial_parts_of_the_heaviest_modes(make_vit, images, options):
    vit = make_vit(**options)
    maps = SalientAttention(k=5, rank=9, select="components", order="weight")(vit, images)
    weights, factors, _, _ = cp_als(last_attention(vit, images), 9)
    for sample in range(len(images)):
        for mode in range(5):
            rows, columns = factors[2][sample, :, mode], factors[3][sample, :, mode]
            expected = weights[sample, mode] * torch.outer(rows, columns)
            torch.testing.assert_close(maps[sample, mode], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("select", ["locations", "components"])
def test_no_map_depends_on_the_batch(vit, images, select):
    extractor = SalientAttention(k=8, select=select)
    together = extractor(vit, images)
    alone = torch.cat([extractor(vit, image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("select", ["locations", "components"])
def test_uniform_attention_in_float32(vit, images, select):
    for parameter in vit.blocks[-1].attn.qkv.parameters():
        parameter.zero_()
    maps = SalientAttention(k=4, select=select)(vit.float(), images.float())
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    if select == "locations":
        torch.testing.assert_close(maps, torch.full_like(maps, 1 / 25))  # 24 patches and a class token


@pytest.mark.parametrize(
    ("size", "most", "options", "message"),
    [
        ((8, 16), 4, {}, r"^salient_attention:k=5 .* 1×2 patches and 3 heads have at most 4"),
        ((32, 48), 24, {"select": "distinct"}, "25 distinct positions, and 4×6 patches have 24"),
        ((32, 48), 12, {"select": "distinct", "attended": True}, "patches have 12"),
    ],
)
def test_no_more_modes_or_positions_than_there_are(vit, size, most, options, message):
    images = torch.randn(1, 3, *size, dtype=torch.float64)
    assert SalientAttention(k=most, **options)(vit, images).shape[1] == most
    with pytest.raises(ValueError, match=message):
        SalientAttention(k=most + 1, **options)(vit, images)


def strongest_free(queries: np.ndarray, allowed: np.ndarray) -> list[int]:
    """Each mode in turn takes its strongest position that no heavier one has taken."""
    taken: list[int] = []
    for mode in range(queries.shape[1]):
        free = [q for q in np.flatnonzero(allowed) if q not in taken]
        taken.append(max(free, key=lambda q: abs(queries[q, mode])))
    return taken


@pytest.mark.parametrize("attended", [False, True])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_distinct_locations(vit, images, attended, nonnegative):
    options = {"attended": attended, "nonnegative": nonnegative}
    maps = SalientAttention(k=12, select="distinct", order="weight", **options)(vit, images)
    attention = last_attention(vit, images)
    queries = cp_als(attention, 12, nonnegative=nonnegative).factors[1].numpy()
    received = attention.mean(dim=(1, 2)).flatten(1)
    for sample in range(len(images)):
        allowed = np.ones(24, dtype=bool)
        if attended:
            allowed[received[sample].argsort()[:11].numpy()] = False  # the lower of the two medians may stay
        positions = strongest_free(queries[sample], allowed)
        assert len(set(positions)) == 12
        torch.testing.assert_close(
            maps[sample], attention[sample, :, positions].mean(dim=0), rtol=0, atol=1e-12
        )


def test_heads_weighted_by_the_mode(vit, images):
    maps = SalientAttention(k=5, heads="weighted", order="weight")(vit, images)
    attention = last_attention(vit, images)
    heads, queries, *_ = cp_als(attention, 5).factors
    for mode in range(5):
        shares = heads[1, :, mode].abs() / heads[1, :, mode].abs().sum()
        retrieved = attention[1, :, queries[1, :, mode].abs().argmax()]
        expected = sum(share * one for share, one in zip(shares, retrieved, strict=True))
        torch.testing.assert_close(maps[1, mode], expected, rtol=0, atol=1e-9)


def test_one_map_per_head(vit, images):
    mean, each = (
        SalientAttention(k=5, heads=heads, order="weight")(vit, images) for heads in ("mean", "each")
    )
    assert each.shape == (3, 15, 4, 6)
    torch.testing.assert_close(each.unflatten(1, (5, 3)).mean(dim=2), mean, rtol=0, atol=1e-12)
    assert not torch.allclose(each[:, 0], each[:, 1])


@pytest.mark.parametrize("options", [{}, {"heads": "each"}, {"select": "components"}])
def test_merged_is_the_mean_over_modes(vit, images, options):
    apart, merged = (SalientAttention(k=6, merge=merge, **options)(vit, images) for merge in (False, True))
    torch.testing.assert_close(merged, apart.unflatten(1, (6, -1)).mean(dim=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("select", ["locations", "distinct", "components"])
def test_maps_in_the_order_of_their_positions(vit, images, select):
    by_weight, by_position = (
        SalientAttention(k=9, select=select, order=order)(vit, images) for order in ("weight", "position")
    )
    queries = cp_als(last_attention(vit, images), 9).factors[1].numpy()
    for sample in range(len(images)):
        positions = (
            strongest_free(queries[sample], np.ones(24, dtype=bool))
            if select == "distinct"
            else np.abs(queries[sample]).argmax(axis=0)
        )
        order = np.argsort(positions, kind="stable")
        torch.testing.assert_close(by_position[sample], by_weight[sample, order.tolist()], rtol=0, atol=1e-12)


def test_values_in_order_do_not_depend_on_the_order_of_modes(vit, images):
    by_weight, by_position, by_value = (
        SalientAttention(k=9, order=order)(vit, images) for order in ("weight", "position", "value")
    )
    assert not torch.equal(by_weight, by_position)
    assert torch.equal(by_value, SalientAttention(k=9)(vit, images))  # the default
    for maps in (by_weight, by_position):
        torch.testing.assert_close(by_value, maps.sort(dim=1, descending=True).values, rtol=0, atol=1e-12)
    each = SalientAttention(k=9, heads="each")(vit, images).unflatten(1, (9, 3))
    assert (each.diff(dim=1) <= 0).all()  # each head by itself


@pytest.mark.parametrize(("block", "expected"), [("all", [0, 1, 2]), ([-1, 0], [2, 0]), (1, [1])])
def test_blocks_side_by_side(vit, images, block, expected):
    maps = SalientAttention(k=4, block=block, order="weight")(vit, images)
    for found, index in zip(maps.split(4, dim=1), expected, strict=True):
        of_all_patches = last_attention(vit, images, index).mean(dim=1).flatten(2)
        assert torch.cdist(found.flatten(2), of_all_patches).min(dim=2).values.max() < 1e-12


@pytest.mark.parametrize(
    ("options", "channels"),
    [
        ({"merge": True, "heads": "each"}, 3),
        ({"block": "all"}, 21),
        ({"block": [0, -1], "heads": "each", "merge": True}, 6),
    ],
)
def test_channels(vit, images, options, channels):
    extractor = SalientAttention(k=7, **options)
    assert extractor.num_channels(vit) == channels
    assert extractor(vit, images).shape == (3, channels, 4, 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 9, "rank": 8}, "k=9, rank=8"),
        ({"order": "size"}, "order must be one of weight, position, value; got 'size'"),
        ({"block": "last"}, "last"),
        ({"block": []}, "empty"),
        ({"select": "components", "attended": True}, "retrieves no attention map"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        SalientAttention(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"init": "nndsvd"}, "nndsvd"), ({"max_iter": 0}, "max_iter")],
)
def test_bad_options_of_the_fit(vit, images, options, message):
    with pytest.raises(ValueError, match=message):
        SalientAttention(**options)(vit, images)
