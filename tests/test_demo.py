import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def make(*arguments: str) -> str:
    """Run make in the checkout with this Python's environment, taken to be installed."""
    venv = Path(sys.prefix)
    command = ["make", "-C", str(ROOT), f"VENV={venv}", "--old-file", f"{venv}/.installed", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


def test_help_lists_every_target():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"install", "demo", "test", "help"} <= set(targets)
    listed = make("help")
    assert [target for target in targets if f"  make {target} " not in listed] == []


@pytest.mark.slow
def test_the_demo_writes_a_page_with_both_models_and_baselines_and_can_be_repeated(tmp_path):
    for _ in range(2):
        make("demo", "QUICK=1", f"RUNS={tmp_path}")
    page = (tmp_path / "demo/index.html").read_text()
    for row in ("raw_attention", "salient_attention", "center prior", "random"):
        assert re.search(f"<td>[^<]*{row}[^<]*<small>", page), row
    checkpoints = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.ckpt"))
    assert checkpoints == [
        f"demo/{name}/version_0/checkpoints/last.ckpt" for name in ("raw_attention", "salient_attention")
    ]
    assert all((tmp_path / "demo" / name).is_file() for name in ("scores.md", "curves.png", "pictures.png"))
