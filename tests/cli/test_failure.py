import warnings

import pytest
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch._utils import ExceptionWrapper

from datamodules import CorruptFileError, DatasetNotFoundError
from salvit.cli.failure import input_error, one_clear_error, plain_warnings
from salvit.extractors import SalientAttention

WRONG_K = "k must be between 1 and the rank of the decomposition; got k=3, rank=2"


def raised(function, *args):
    try:
        function(*args)
    except Exception as error:
        return error
    raise AssertionError("nothing raised")


def throw(error, cause=None):
    raise error from cause


def test_a_mistake_of_the_user_also_within_an_error_of_a_library():
    mistake = raised(lambda: SalientAttention(k=3, rank=2))
    assert input_error(mistake) == WRONG_K
    inner = raised(throw, ValueError("none of the union"), mistake)
    assert input_error(raised(throw, TypeError("no"), inner)) == WRONG_K


def test_a_file_that_the_system_names(tmp_path):
    assert input_error(raised((tmp_path / "a").read_bytes)) == f"No such file or directory: {tmp_path / 'a'}"


@pytest.mark.parametrize("error", [OSError(9, "bug"), ValueError("bug"), AssertionError("bug")])
def test_a_bug_is_no_mistake_of_the_user(error):
    assert input_error(raised(throw, error)) is None


def test_what_merely_happened_before_is_not_the_cause():
    def handle():
        try:
            throw(DatasetNotFoundError("no images"))
        except DatasetNotFoundError:
            throw(ZeroDivisionError("bug"))

    assert input_error(raised(handle)) is None


def test_an_error_of_configuration():
    assert input_error(raised(throw, MisconfigurationException("what is wrong"))) == "what is wrong"


def test_errors_of_a_worker_are_without_its_traceback():
    """As a DataLoader hands them over from its worker; `test_command.py` has a real one."""
    try:
        throw(CorruptFileError("a.jpg: cut off\nreplace it"), OSError("truncated"))
    except CorruptFileError:
        error = raised(ExceptionWrapper(where="in DataLoader worker process 0").reraise)
    assert "Traceback" in str(error)
    assert input_error(error) == "a.jpg: cut off\nreplace it"


def test_one_message_and_a_status(capsys):
    with pytest.raises(SystemExit) as exit_, one_clear_error(status=2):
        throw(CorruptFileError("a.jpg: cut off"))
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "salvit: error: a.jpg: cut off\n(SALVIT_TRACEBACK=1 shows where.)\n"


@pytest.mark.parametrize(
    ("error", "on_demand"),
    [(CorruptFileError("a.jpg"), True), (ZeroDivisionError("bug"), False), (KeyboardInterrupt(), False)],
)
def test_the_traceback_of_a_bug_or_on_demand(monkeypatch, capsys, error, on_demand):
    monkeypatch.setenv("SALVIT_TRACEBACK", "1" if on_demand else "0")
    with pytest.raises(type(error)) as passed, one_clear_error():
        throw(error)
    assert passed.value is error
    assert not capsys.readouterr().err


def test_warnings_without_the_line_they_come_from():
    before = warnings.formatwarning
    with plain_warnings():
        said = warnings.formatwarning("no classifier head", UserWarning, "task.py", 1)
    assert said == "warning: no classifier head\n"
    assert warnings.formatwarning is before
