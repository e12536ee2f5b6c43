"""A tiny CAT2000 in its published layout."""

from pathlib import Path

from scipy.io import savemat

from tests.datamodules.data.images import point_map, points, write_image, write_noise

SIZE = (36, 64)
CATEGORIES = ("Action", "Satelite")


def seed_of(category: str, number: int) -> int:
    return 100 * CATEGORIES.index(category) + number


def make_cat2000(root: Path, each: int = 5, test: int = 0) -> Path:
    """Images, maps, binary matrices; numbers have gaps, and there are pictures of other programs in Output."""
    train_set = root / "trainSet"
    for category in CATEGORIES:
        for number in range(1, 2 * each, 2):
            seed, stem = seed_of(category, number), f"{category}/{number:03d}"
            fixated = point_map(points(seed, SIZE), SIZE)
            write_image(train_set / f"Stimuli/{stem}.jpg", SIZE, seed)
            write_image(train_set / f"Stimuli/{category}/Output/{number:03d}_SaliencyMap.jpg", SIZE, seed)
            write_noise(train_set / f"FIXATIONMAPS/{stem}.jpg", SIZE, seed, quality=100)
            mat = train_set / f"FIXATIONLOCS/{stem}.mat"
            mat.parent.mkdir(parents=True, exist_ok=True)
            savemat(mat, {"fixLocs": fixated}, do_compression=True)
        for number in range(1, test + 1):
            folder = root / f"testSet/Stimuli/{category}"
            write_image(folder / f"{number:03d}.jpg", SIZE, number)
            write_image(folder / f"Output/{number:03d}_SaliencyMap.jpg", SIZE, number)
    return root
