"""Scripts that run in somebody else's interpreter: standard library only, one file each, Python 3.8 and up."""
