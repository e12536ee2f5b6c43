from pathlib import Path

from salvit.extractors import Rollout
from salvit.modules import SaliencyModule
from salvit.modules.naming import backbone_name


def test_local_files_are_named_by_their_name(vit_file, tmp_path):
    path = vit_file()
    assert backbone_name(path) == Path(path).name
    assert backbone_name("vit_tiny.a", weights=tmp_path / "b.pth") == "vit_tiny.a with weights b.pth"
    assert backbone_name("vit_tiny.a", pretrained=False) == "vit_tiny.a with random weights"
    assert backbone_name({"depth": 2}) == "ViT from scratch"


def test_an_untrained_decoder_is_named_so():
    module = SaliencyModule(extractor=Rollout())
    assert module.model_name == "salvit_tiny · rollout"
    module.untrained = True
    assert module.model_name == "salvit_tiny · rollout, untrained decoder"
