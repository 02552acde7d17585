"""What the store holds, what of it is used, and how the rest goes; and whether this machine is well."""
