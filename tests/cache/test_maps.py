"""Maps of a frozen ViT on disk."""

import errno
import multiprocessing
import shutil

import pytest
import torch

from salvit.cache.maps import StoredMaps
from salvit.extractors import RawAttention, Rollout, SalientAttention
from salvit.results import source
from salvit.vit import load_vit, normalize


class Counted:
    """Maps on disk, and how many images were extracted."""

    def __init__(self, vit_file, folder, extractor=None, seed=0):
        self.vit, self.extractor = load_vit(vit_file(seed)), extractor or RawAttention(per_head=True)
        self.extracted = 0
        self.stored = StoredMaps(self.vit, self.extractor, self.extract, folder, "a ViT · a method")

    def extract(self, images):
        self.extracted += len(images)
        return self.extractor(self.vit, normalize(self.vit, images))

    def __call__(self, images):
        before = self.extracted
        maps = self.stored(images)
        assert torch.equal(maps, self.extractor(self.vit, normalize(self.vit, images)))
        return self.extracted - before


@pytest.fixture
def images():
    return torch.rand(4, 3, 32, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def stored(vit_file, tmp_path):
    def make(**options):
        return Counted(vit_file, tmp_path / "maps", **options)

    return make


def files(tmp_path):
    return sorted((tmp_path / "maps").glob("*/*.safetensors"))


def test_each_image_is_extracted_once_for_all_runs(stored, images):
    assert stored()(images[:3]) == 3
    again = stored()
    assert again(images) == 1
    assert again(images.flip(0)) == 0


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"extractor": RawAttention(per_head=True, block=0)},
        {"extractor": Rollout(per_head=True)},
    ],
    ids=["weights", "option", "method"],
)
def test_maps_of_another_model_or_method_are_not_taken(stored, images, other):
    stored()(images)
    assert stored(**other)(images) == 4


def test_maps_of_another_image_or_preprocessing_are_not_taken(stored, images):
    stored()(images)
    slightly = images.clone()
    slightly[:, 0, 0, 0] += 1 / 255
    for changed in (slightly, images.flip(-1), images[..., :32], images.movedim(-1, -2)):
        assert stored()(changed) == 4
    normalised = stored()
    normalised.vit.pretrained_cfg["mean"] = (0.1, 0.2, 0.3)
    assert normalised(images) == 4


def test_maps_of_other_code_are_not_taken(stored, images, monkeypatch):
    stored()(images)
    monkeypatch.setattr("salvit.cache.maps.package_hash", lambda: "another version")
    assert stored()(images) == 4
    assert source.package_hash() != "another version"


def test_maps_in_another_precision_are_not_taken(stored, images):
    stored()(images)
    mixed = stored()
    with torch.autocast("cpu", torch.bfloat16):
        mixed.stored(images)
    assert mixed.extracted == 4


def damage_end(path):
    path.write_bytes(path.read_bytes()[:-5])


def empty(path):
    path.write_bytes(b"")


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def flip_header(path):
    content = bytearray(path.read_bytes())
    content[12] ^= 1
    path.write_bytes(content)


def take_from_another_image(path):
    other = next(file for file in path.parent.glob("*.safetensors") if file != path)
    shutil.copy(other, path)


def write_something_else(path):
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")


@pytest.mark.parametrize(
    "damage", [damage_end, empty, flip_bit, flip_header, take_from_another_image, write_something_else]
)
def test_a_damaged_or_foreign_file_is_made_again(stored, images, tmp_path, damage):
    stored()(images)
    path = files(tmp_path)[0]
    whole = path.read_bytes()
    damage(path)
    assert stored()(images) == 1
    assert path.read_bytes() == whole
    assert stored()(images) == 0


def fill(vit_path, folder, images, ready, results):
    counted = Counted(lambda seed: vit_path, folder)
    ready.wait()
    results.put(sum(counted(image[None]) for image in images))


def test_two_processes_fill_one_folder(vit_file, stored, tmp_path):
    images = torch.rand(12, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    context = multiprocessing.get_context("fork")  # without importing torch again
    ready, results = context.Barrier(2), context.Queue()
    orders = (images, images.flip(0))
    processes = [
        context.Process(target=fill, args=(vit_file(0), tmp_path / "maps", order, ready, results))
        for order in orders
    ]
    for process in processes:
        process.start()
    extracted = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert 12 <= sum(extracted) <= 24
    assert len(files(tmp_path)) == 12
    assert not list((tmp_path / "maps").rglob(".part-*"))
    assert stored()(images) == 0


def test_a_full_disk_ends_the_cache_and_not_the_run(stored, images, tmp_path, monkeypatch):
    stored()(images[:1])

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    counted = stored()
    with pytest.warns(
        UserWarning, match=r"cannot write .*No space left on device.*salvit cache prune"
    ) as caught:
        assert counted(images) == 3
    assert counted(images) == 3
    assert len(caught) == 1
    assert len(files(tmp_path)) == 1


def test_a_folder_that_is_a_file_ends_the_cache_and_not_the_run(stored, images, tmp_path):
    (tmp_path / "maps").write_text("mine")
    with pytest.warns(UserWarning, match="cannot write"):
        assert stored()(images) == 4
    assert (tmp_path / "maps").read_text() == "mine"


def test_salient_attention_is_kept_to_the_bit(vit_file, tmp_path, images):
    extractor = SalientAttention(k=3)
    first = Counted(vit_file, tmp_path / "maps", extractor)
    maps = first.stored(images)
    assert torch.equal(Counted(vit_file, tmp_path / "maps", extractor).stored(images), maps)
