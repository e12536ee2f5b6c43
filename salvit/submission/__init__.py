"""Submissions to saliency benchmarks: maps named after their stimuli, and log densities in one file."""

from salvit.submission.check import SubmissionError, check_submission
from salvit.submission.hdf5 import log_density, write_hdf5
from salvit.submission.stimuli import stimuli_of

__all__ = ["SubmissionError", "check_submission", "log_density", "stimuli_of", "write_hdf5"]
