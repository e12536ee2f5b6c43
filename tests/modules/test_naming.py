from pathlib import Path

from salvit.extractors import RawAttention, Rollout
from salvit.modules import SaliencyModule
from salvit.modules.naming import backbone_name, method_name


def test_local_files_are_named_by_their_name(vit_file, tmp_path):
    path = vit_file()
    assert backbone_name(path) == Path(path).name
    assert backbone_name("vit_tiny.a", weights=tmp_path / "b.pth") == "vit_tiny.a with weights b.pth"
    assert backbone_name("vit_tiny.a", pretrained=False) == "vit_tiny.a with random weights"
    assert backbone_name({"depth": 2}) == "ViT from scratch"


def test_options_that_are_changed_are_named_as_they_are_typed():
    assert method_name(Rollout()) == "rollout"
    extractor = RawAttention(block="all", per_head=True)
    assert method_name(extractor) == "raw_attention:block=all,per_head=true"


def test_an_untrained_decoder_is_named_so():
    module = SaliencyModule(extractor=Rollout())
    assert module.model_name == "salvit_tiny · rollout"
    module.untrained = True
    assert module.model_name == "salvit_tiny · rollout, untrained decoder"
