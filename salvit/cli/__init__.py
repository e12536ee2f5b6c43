"""The command line: parsing, checkpoints, loggers, messages and exit status."""
