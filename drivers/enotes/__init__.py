"""Electronic notebooks: an officer's notes, sketches and statements, small and many."""
