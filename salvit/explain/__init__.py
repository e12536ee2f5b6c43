"""`salvit explain`: maps of a few images by several methods, in one command; `salvit.extract` is for notebooks."""
