"""What each maker's message says, as canonical reads: one file a maker, over the formats in `firmware_specs`."""
