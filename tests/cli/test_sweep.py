"""`salvit sweep`."""

from pathlib import Path

import pytest
import yaml

from salvit.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
SWEEP = ROOT / "experiments/sweeps/k.yaml"
TINY = [
    *("--data.train_size", "4", "--data.val_size", "3", "--data.test_size", "3", "--data.num_workers", "0"),
    *(
        "--data.image_size",
        "32",
        "--trainer.max_epochs",
        "1",
        "--trainer.accelerator",
        "cpu",
        "--wandb",
        "false",
    ),
]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def lines(capsys, *options):
    main(["sweep", "salvit:sweeps/k.yaml", *options, "--dry_run"])
    return capsys.readouterr().out.splitlines()


def test_every_row_is_fitted_and_tested(capsys):
    rows = lines(capsys, "--data.root", "my data")
    assert len(rows) == 10
    common = "--config=salvit:demo.yaml --model.extractor=salient_attention:k=16 --config=salvit:k.yaml"
    assert rows[0] == f"salvit fit {common} --data.root 'my data'"
    assert rows[1] == f"salvit test {common} --data.root 'my data' --ckpt_path last"


def test_a_typed_parameter_takes_the_place_of_its_values(capsys):
    extractors = [f"--model.extractor=salient_attention:k={k}" for k in (4, 8)]
    rows = lines(capsys, "--config", "salvit:osie.yaml", *extractors)
    assert len(rows) == 4
    assert all("salvit:osie.yaml" in row and "salvit:demo.yaml" not in row for row in rows)
    assert [extractors[0] in row for row in rows] == [True, True, False, False]


def test_rows_are_what_they_are_alone(tmp_path, capfd):
    extractor = ["--model.extractor", "salient_attention:k=2", "--model.extractor", "raw_attention"]
    main(["sweep", str(SWEEP), *extractor, *TINY, "--runs", "together"])
    main(["sweep", str(SWEEP), *extractor[2:], *TINY, "--runs", "alone", "-q"])
    folders = sorted(path.name for path in Path("together/sweep-k").iterdir())
    assert folders == ["raw_attention", "salient_attention,k=2"]
    scores = [
        Path(runs, "sweep-k/raw_attention/version_1/per_image.csv").read_text()
        for runs in ("together", "alone")
    ]
    assert scores[0] == scores[1]
    assert "salvit_tiny · raw_attention" in capfd.readouterr().out


def test_a_row_that_fails_ends_the_sweep(capfd):
    extractors = ["--model.extractor", "salient_attention:k=1000", "--model.extractor", "raw_attention"]
    with pytest.raises(SystemExit) as ended:
        main(["sweep", str(SWEEP), *extractors, *TINY])
    assert ended.value.code == 2
    assert "lower k" in capfd.readouterr().err
    assert not Path("runs/sweep-k/raw_attention").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "bayes"}, "method: grid"),
        ({"parameters": {"model.lr": {"min": 0.1, "max": 0.2}}}, "value or values"),
        ({"command": ["salvit", "test"]}, "a command with fit"),
        (None, "no file"),
    ],
)
def test_a_file_that_is_no_sweep(capsys, tmp_path, change, message):
    if change is not None:
        (tmp_path / "sweep.yaml").write_text(yaml.dump({**yaml.safe_load(SWEEP.read_text()), **change}))
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "sweep.yaml"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("salvit: error: ")
    assert message in error


def test_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: salvit sweep FILE")
