"""One file a command: its flags (a dataclass) and what it does with them."""
