"""What a person may call a class."""

import pytest
from timm.data import ImageNetInfo

from salvit.vit import load_vit
from salvit.vit.classes import Classes, classes_of
from tests.tiny import save_vit


@pytest.fixture(scope="module")
def imagenet():
    return classes_of(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=1))


@pytest.mark.parametrize(
    ("text", "index"),
    [("243", 243), ("bull mastiff", 243), ("BULL_Mastiff", 243), ("n02108422", 243), ("ash-bin", 412)],
)
def test_names(imagenet, text, index):
    assert imagenet.find(text) == index


def test_every_label_is_found(imagenet):
    labels = ImageNetInfo().label_names()
    assert [imagenet.find(label) for label in labels] == list(range(1000))


def test_a_name_of_two_classes(imagenet):
    with pytest.raises(
        ValueError, match=r'"Crane" names 2 classes, give an index: 134 \(crane.*bird.*; 517 \('
    ):
        imagenet.find("Crane")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bul mastif", r'did you mean "bull mastiff" \(243\)'),
        ("mastiff", r'"bull mastiff" \(243\)'),
        ("terier", r'did you mean ("[a-z ]*terrier" \(\d+\)(, )?){4}\?'),
        ("xyzzy plugh", 'no class "xyzzy plugh"$'),
        ("1000", "class 1000 is outside 0 … 999"),
        ("-1", "class -1 is outside 0 … 999"),
    ],
)
def test_what_is_no_class(imagenet, text, said):
    with pytest.raises(ValueError, match=said):
        imagenet.find(text)


def test_classes_are_called_by_their_first_name(imagenet):
    assert imagenet.describe(0) == "tench (0)"
    assert Classes(3).describe(2) == "class 2"


def test_names_that_timm_describes(tmp_path):
    vit = load_vit(save_vit(tmp_path / "a.safetensors", num_classes=2))
    vit.pretrained_cfg |= {"label_names": ["n1", "n2"], "label_descriptions": {"n1": "owl, bird of Minerva"}}
    classes = classes_of(vit)
    assert (classes.find("n2"), classes.find("bird of minerva"), classes.describe(0)) == (1, 0, "owl (0)")


def test_the_shapes_of_the_shipped_model():
    classes = classes_of(load_vit("salvit_tiny"))
    assert [classes.find(name) for name in ("disc", "Arrow")] == [0, 9]
    with pytest.raises(ValueError, match=r'no class "dog"; classes: disc; ring; .*; arrow$'):
        classes.find("dog")
