import warnings

import pytest
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch._utils import ExceptionWrapper

from datamodules import CorruptFileError, DatasetNotFoundError
from salvit.cli.failure import input_error, one_clear_error, plain_warnings
from salvit.extractors import SalientAttention


def raised(function, *args):
    try:
        function(*args)
    except Exception as error:
        return error
    raise AssertionError("nothing raised")


def throw(error, cause=None):
    raise error from cause


def of_our_own():
    return raised(lambda: SalientAttention(k=3, rank=2))


def test_a_check_of_ours():
    assert (
        input_error(of_our_own()) == "k must be between 1 and the rank of the decomposition; got k=3, rank=2"
    )


def test_a_check_of_ours_wrapped_by_a_library():
    inner = raised(throw, ValueError("none of the union"), of_our_own())
    assert input_error(raised(throw, TypeError("no"), inner)).startswith("k must be between 1")


def test_a_file_that_the_system_names(tmp_path):
    assert input_error(raised((tmp_path / "a").read_bytes)) == f"No such file or directory: {tmp_path / 'a'}"


@pytest.mark.parametrize(
    "error",
    [OSError(9, "bug"), ValueError("bug"), KeyError("bug"), RuntimeError("bug"), AssertionError("bug")],
)
def test_a_bug_is_no_input_error(error):
    assert input_error(raised(throw, error)) is None


def test_what_merely_happened_before_is_not_the_cause():
    def handle():
        try:
            throw(DatasetNotFoundError("no images"))
        except DatasetNotFoundError:
            throw(ZeroDivisionError("bug"))

    assert input_error(raised(handle)) is None


@pytest.mark.parametrize("kind", [CorruptFileError, DatasetNotFoundError, MisconfigurationException])
def test_errors_about_data_and_configuration(kind):
    assert input_error(raised(throw, kind("what is wrong"))) == "what is wrong"


@pytest.mark.parametrize("kind", [CorruptFileError, DatasetNotFoundError])
def test_errors_of_a_worker_are_without_its_traceback(kind):
    """As a DataLoader hands them over from its worker; `test_cli.py` has a real one."""
    try:
        throw(kind("a.jpg: cut off\nreplace it"), OSError("truncated"))
    except kind:
        error = raised(ExceptionWrapper(where="in DataLoader worker process 0").reraise)
    assert "Traceback" in str(error)
    assert input_error(error) == "a.jpg: cut off\nreplace it"


def run(error):
    with one_clear_error():
        throw(error)


def test_one_message_and_a_status(capsys):
    with pytest.raises(SystemExit) as exit_:
        run(CorruptFileError("a.jpg: cut off"))
    assert exit_.value.code == 1
    assert capsys.readouterr().err == "salvit: error: a.jpg: cut off\n(SALVIT_TRACEBACK=1 shows where.)\n"


def test_another_status(capsys):
    with pytest.raises(SystemExit) as exit_, one_clear_error(status=2):
        throw(CorruptFileError("a.jpg: cut off"))
    assert exit_.value.code == 2


def test_the_frames_on_demand(monkeypatch, capsys):
    monkeypatch.setenv("SALVIT_TRACEBACK", "1")
    with pytest.raises(CorruptFileError):
        run(CorruptFileError("a.jpg: cut off"))
    assert not capsys.readouterr().err


@pytest.mark.parametrize("error", [ZeroDivisionError("bug"), KeyboardInterrupt(), SystemExit(3)])
def test_the_rest_passes_through(error, capsys):
    with pytest.raises(type(error)) as passed:
        run(error)
    assert passed.value is error
    assert not capsys.readouterr().err


def test_no_error_no_message(capsys):
    with one_clear_error(), warnings.catch_warnings():
        pass
    assert not capsys.readouterr().err


def test_warnings_without_the_line_they_come_from(recwarn):
    before = warnings.formatwarning
    with plain_warnings():
        assert (
            warnings.formatwarning("no classifier head", UserWarning, "task.py", 1)
            == "warning: no classifier head\n"
        )
    assert warnings.formatwarning is before
