import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAKEFILES = (ROOT / "Makefile", ROOT / "experiments/tables/tables.mk")


def make(*arguments: str) -> str:
    """Run make in the checkout with this Python's environment, taken to be installed."""
    venv = Path(sys.prefix)
    command = ["make", "-C", str(ROOT), f"VENV={venv}", "--old-file", f"{venv}/.installed", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


def test_help_lists_every_target():
    targets = re.findall(r"^([a-z0-9-]+):", "".join(file.read_text() for file in MAKEFILES), re.MULTILINE)
    assert {"install", "demo", "test", "help", "table1", "table-agcam"} <= set(targets)
    listed = make("help")
    assert [target for target in targets if f"  make {target} " not in listed] == []


def test_a_sweep_goes_on_where_it_stopped(tmp_path):
    options = ("ROWS=baseline no-norm", "SEEDS=0 7", "DATA=ClassFolderDataModule", "ROOT=photographs")
    folder = tmp_path / "sweep-arch/ClassFolderDataModule"
    command = (*options, f"RUNS={tmp_path}", "GPUS=0", "--dry-run", "sweep-arch")
    lines = make(*command).splitlines()
    fits = [line for line in lines if " fit " in line]
    assert len(fits) == 4
    assert all("--data ClassFolderDataModule --data.root photographs" in line for line in fits)
    assert all(" test " in line and line.endswith("--ckpt_path last") for line in fits)
    assert any(line.endswith(f"-m salvit.report.poster {folder}") for line in lines)
    for name in ("baseline/seed0", "no-norm/seed7"):
        (folder / f"poster/{name}").mkdir(parents=True)
        (folder / f"poster/{name}/tested").touch()
    left = [
        re.findall(r"poster/(\S+)\.yaml --seed_everything (\d)", line) for line in make(*command).splitlines()
    ]
    assert [pairs[1] for pairs in left if pairs] == [("no-norm", "0"), ("baseline", "7")]


def test_rows_side_by_side_share_the_gpus(tmp_path):
    lines = make("SEEDS=0 1 2", f"RUNS={tmp_path}", "GPUS=3", "--dry-run", "sweep-arch").splitlines()
    jobs = [line.partition(";")[0] for line in lines if " fit " in line]
    script = "; ".join(f"{job}; echo $CUDA_VISIBLE_DEVICES" for job in jobs)
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert len(shown) == 42
    assert set(shown) == {"0", "1", "2"}


@pytest.mark.slow
def test_the_demo_writes_a_page_with_both_models_and_baselines_and_can_be_repeated(tmp_path):
    for _ in range(2):
        make("demo", "QUICK=1", f"RUNS={tmp_path}")
    scores = (tmp_path / "demo/report/scores.csv").read_text()
    for row in ("raw_attention", "salient_attention", "center prior", "random"):
        assert re.search(f",[^,]*{row}[^,]*,CC,", scores), row
    checkpoints = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.ckpt"))
    assert checkpoints == [
        f"demo/{name}/version_0/checkpoints/last.ckpt" for name in ("raw_attention", "salient_attention")
    ]
    assert all(
        (tmp_path / "demo/report" / name).is_file() for name in ("index.html", "scores.md", "scores.tex")
    )
