"""One file per maker, model and firmware: how to recognise it, what it records, in which formats, what it can do."""
