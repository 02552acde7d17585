"""What `scripts/bench` measures, a module for each subject; `measure` takes the times, `home` has the places."""
