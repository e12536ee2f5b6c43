import pytest

from salvit.results.store import Store
from tests.results.test_files import files_no_longer_than


def test_records_of_all_processes_come_back(tmp_path):
    Store(tmp_path, {"seed": 0}).add([("a", {"x": [1.0]}), ("b", {"x": [float("nan")]})], rank=0)
    Store(tmp_path, {"seed": 0}).add([("c", {"x": [0.1]})], rank=1)
    records = Store(tmp_path, {"seed": 0}).read()
    assert records.keys() == {"a", "b", "c"}
    assert records["c"] == {"x": [0.1]}
    assert records["b"]["x"][0] != records["b"]["x"][0]


def test_other_descriptions_have_other_records_and_nothing_is_made_before(tmp_path):
    assert Store(tmp_path / "results", {}).read() == {}
    assert not (tmp_path / "results").exists()
    Store(tmp_path, {"seed": 0, "method": "a"}).add([("a", {})], rank=0)
    assert Store(tmp_path, {"seed": 1, "method": "a"}).read() == {}
    assert Store(tmp_path, {"method": "a", "seed": 0}).read() == {"a": {}}


def test_a_line_that_was_cut_off_is_no_record_and_hurts_no_other(tmp_path):
    results = Store(tmp_path, {})
    results.add([("a", {"x": 1}), ("b", {"x": 2})], rank=0)
    [path] = results.folder.glob("*.jsonl")
    path.write_text(path.read_text()[:-5])
    results.add([("c", {"x": 3})], rank=0)
    assert results.read() == {"a": {"x": 1}, "c": {"x": 3}}


def test_a_full_disk_keeps_the_records_and_is_told_by_the_files_name(tmp_path):
    results = Store(tmp_path, {})
    results.add([("a", {"x": 1})], rank=0)
    with pytest.raises(OSError, match=r"^cannot write .*rank0\.jsonl: "), files_no_longer_than(100):
        results.add([("b", {"x": list(range(100))})], rank=0)
    assert results.read() == {"a": {"x": 1}}
    with pytest.raises(OSError, match=r"^cannot write .*description\.json: "), files_no_longer_than(1):
        Store(tmp_path, {"other": 1}).add([("a", {})], rank=0)
    results.add([("b", {"x": 2})], rank=0)
    assert results.read() == {"a": {"x": 1}, "b": {"x": 2}}
