"""What `scripts/corpus` is made of."""
