"""The commands: one file each, which parses its options and calls one deed. Each has `run(arguments) -> exit code`."""
