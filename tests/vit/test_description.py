import json
import warnings

import pytest
from safetensors.torch import save_file

from salvit.vit import load_vit
from salvit.vit.classes import classes_of

MODEL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 5}


@pytest.fixture
def weights(tmp_path):
    vit = load_vit("vit_tiny_patch16_224", pretrained=False, **MODEL)
    save_file(vit.state_dict(), tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        (b"\xff", "is not JSON"),
        ("[1]", 'must be a JSON object with "model" in it'),
        ({"model": {**MODEL, "img_sizes": 3}}, '"model" does not fit the architecture: .*img_sizes'),
        (
            {"model": MODEL, "std": [0.5, 0.5, 0]},
            r'"std" must be a list of positive numbers.*\[0.5, 0.5, 0\]',
        ),
        (
            {"model": {**MODEL, "checkpoint_path": "a.pth", "weights": "b.pth"}},
            r'"model" names other weights \(checkpoint_path, weights\)',
        ),
        ({"model": MODEL, "std": "half"}, '"std" must be a list of positive numbers.*half'),
        ({"model": MODEL, "mean": [float("nan")] * 3}, '"mean" must be a list of numbers'),
        ({"model": MODEL, "mean": []}, '"mean" must be a list of numbers'),
        ({"model": MODEL, "label_names": "dog"}, '"label_names" must be a list of names'),
    ],
)
def test_what_is_wrong_is_said_with_the_name_of_the_file(weights, content, said):
    file = weights.with_suffix(".json")
    text = json.dumps(content) if isinstance(content, dict) else content
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=rf"own\.json:? .*{said}|own\.json:? {said}"):
        load_vit(weights)


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "b", "c", "d", "e"]])
def test_names_are_as_many_as_classes(weights, names):
    weights.with_suffix(".json").write_text(json.dumps({"model": MODEL, "label_names": names}))
    vit = load_vit(weights)
    if len(names) == MODEL["num_classes"]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert classes_of(vit).find("E") == 4
    else:
        with pytest.warns(UserWarning, match="name 3 classes, and the model has 5"):
            assert classes_of(vit).describe(4) == "class 4"
