import json
from types import SimpleNamespace

import torch

from salvit.callbacks.provenance import Provenance


def trainer(folder, **changes):
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    values = {"log_dir": str(folder), "is_global_zero": True, "loggers": [object()], "strategy": strategy}
    return SimpleNamespace(**{"world_size": 1, **values, **changes})


def test_a_run_leaves_its_command_as_it_can_be_typed_again_and_its_time(tmp_path):
    callback = Provenance(["fit", "--data.root", "my images"])
    callback.setup(trainer(tmp_path, world_size=2), None, "fit")
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["command"] == "salvit fit --data.root 'my images'"
    assert (record["stage"], record["device"], record["seconds"]) == ("fit", "2 × CPU", None)
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    callback.teardown(trainer(tmp_path), None, "fit")
    after = json.loads((tmp_path / "run.json").read_text())
    assert after["seconds"] >= 0
    assert {**after, "seconds": None} == record


def test_only_the_first_process_of_a_logged_run_writes(tmp_path):
    for changes in ({"is_global_zero": False}, {"loggers": []}, {"log_dir": None}):
        Provenance(["fit"]).setup(trainer(tmp_path, **changes), None, "fit")
    assert not list(tmp_path.iterdir())
