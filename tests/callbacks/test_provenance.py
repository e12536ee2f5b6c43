import json
import logging
from types import SimpleNamespace

import torch

from salvit.callbacks.provenance import Provenance
from salvit.cli.quiet import is_no_advertisement
from salvit.results.machine import device_name


def trainer(folder, **changes):
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    values = {"log_dir": str(folder), "is_global_zero": True, "loggers": [object()], "strategy": strategy}
    return SimpleNamespace(**{"world_size": 1, **values, **changes})


def test_a_run_leaves_its_command_as_it_can_be_typed_again(tmp_path):
    callback = Provenance(["fit", "--data.root", "my images"])
    callback.setup(trainer(tmp_path), None, "fit")
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["command"] == "salvit fit --data.root 'my images'"
    assert (record["stage"], record["device"], record["seconds"]) == ("fit", "CPU", None)
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_the_end_of_a_run_adds_its_time_and_keeps_the_rest(tmp_path):
    callback = Provenance(["fit"])
    callback.setup(trainer(tmp_path), None, "fit")
    before = json.loads((tmp_path / "run.json").read_text())
    callback.teardown(trainer(tmp_path), None, "fit")
    after = json.loads((tmp_path / "run.json").read_text())
    assert after.pop("seconds") >= 0
    assert after == {name: value for name, value in before.items() if name != "seconds"}


def test_only_the_first_process_of_a_logged_run_writes(tmp_path):
    for changes in ({"is_global_zero": False}, {"loggers": []}, {"log_dir": None}):
        Provenance(["fit"]).setup(trainer(tmp_path, **changes), None, "fit")
    assert not list(tmp_path.iterdir())


def test_several_devices_are_counted():
    assert device_name(torch.device("cpu"), 2) == "2 × CPU"


def test_only_advertisements_are_kept_from_the_log():
    records = [
        logging.makeLogRecord({"msg": text}) for text in ("💡 Tip: try our cloud", "GPU available: False")
    ]
    assert [is_no_advertisement(record) for record in records] == [False, True]
