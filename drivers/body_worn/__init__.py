"""Body-worn cameras: worn through a shift, docked at its end, read as a volume or through their dock."""
