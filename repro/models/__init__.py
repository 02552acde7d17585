"""Models: saved with their snapshot, loaded and asked in their environment, served."""
