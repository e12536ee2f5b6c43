"""What runs share on disk: maps of frozen models, so that each is extracted once."""
