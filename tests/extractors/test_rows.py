"""Whose row of the attention a map is: one option of nine methods."""

import pytest
import torch

from salvit.extractors import METHODS

NAMES = [name for name, method in METHODS.items() if hasattr(method(), "rows")]
every = pytest.mark.parametrize("name", NAMES)


@every
def test_auto_is_the_class_row_of_a_model_that_classifies_from_its_class_token(vit, images, name):
    method = METHODS[name]
    maps = method()(vit, images, 2)
    torch.testing.assert_close(maps, method(rows="class")(vit, images, 2), rtol=0, atol=0)
    assert not torch.allclose(maps, method(rows="all")(vit, images, 2), rtol=1e-2)


@every
@pytest.mark.parametrize("options", [{"class_token": False}, {"reg_tokens": 2}], ids=repr)
def test_auto_is_the_mean_over_the_patches_that_a_model_averages(make_vit, images, name, options):
    vit, method = make_vit(global_pool="avg", **options), METHODS[name]
    maps = method()(vit, images, 2)
    assert (maps.amax((1, 2, 3)) > 0).all()
    torch.testing.assert_close(maps, method(rows="all")(vit, images, 2), rtol=0, atol=0)


# In this model the cut of attention_flow is at the patches, from whichever rows it starts.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "attention_flow"])
def test_attention_pooling_reads_every_token(make_vit, images, name):
    """With a class token that is only attended over, as the Perception Encoder has."""
    vit, method = make_vit(global_pool="map"), METHODS[name]
    maps = method()(vit, images, 2)
    assert maps.amax() > 0
    assert not torch.allclose(maps, method(rows="all")(vit, images, 2), rtol=1e-4)


@every
def test_a_class_row_that_there_is_not_or_that_is_not_read(make_vit, images, name):
    extractor = METHODS[name](rows="class")
    without, beside = make_vit(class_token=False, global_pool="avg"), make_vit(global_pool="avg")
    for vit in (without, beside):
        vit.forward = None  # nothing may be computed
    with pytest.raises(ValueError, match=r'needs a class token.*use rows="auto"'):
        extractor(without, images)
    if extractor.class_specific:
        with pytest.raises(ValueError, match=r'does not classify from its class token.*use rows="auto"'):
            extractor(beside, images)


@every
def test_rows_that_there_are_not(name):
    with pytest.raises(ValueError, match="rows must be one of auto, class, all"):
        METHODS[name](rows="cls")
