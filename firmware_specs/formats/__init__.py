"""One file per wire or file format, as a declaration, with what is known of it, from where, and what is not known."""
