"""The cache on disk that runs share: maps of frozen models, so that each is extracted once."""
