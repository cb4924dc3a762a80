"""One file per wire or file format."""
