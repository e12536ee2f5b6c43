"""What `salvit explain --wandb` logs, read back from the file of an offline run."""

from pathlib import Path

from tests.explaining import explain, index


def test_grids_and_maps_reach_wandb(image, shapes, offline_wandb, capsys):
    explain(image, *shapes, "--method", "agcam", "rollout", "--wandb", "mine", "--target", "3", "5")
    kept = offline_wandb()
    backbone = Path(shapes[1]).name
    assert kept.about.project == "mine"
    assert kept.about.display_name == f"{backbone} · 2 methods · images · explain"
    assert list(kept.about.tags) == [backbone, "agcam", "rollout", "images"]
    assert kept.config["explain"]["command"].startswith("salvit explain dog.png")
    [grid] = kept.history["explain/grids"][-1]["filenames"]
    assert (kept.folder / "files" / grid).read_bytes() == Path("runs/explain/grids/dog.png").read_bytes()
    rows = kept.table("explain/maps")
    assert [(row["image"], row["method"]) for row in rows] == [
        (row["image"], row["method"]) for row in sorted(index(), key=lambda row: row["method"])
    ]
    assert [row["explained"].partition(",")[0] for row in rows] == ["class 3", "class 5", ""]
    assert len(kept.pictures("explain/maps")) == 3


def test_nothing_is_logged_unless_asked(image, shapes, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    explain(image, *shapes)
    assert not list(Path().rglob("wandb"))
