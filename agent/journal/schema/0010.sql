-- Devices that nobody can ask to forget. Frozen: a later change is a file of its own beside this one.

-- How the device comes to forget it by itself, as the entry `held` says; none: it can be asked.
ALTER TABLE capture ADD COLUMN forgets TEXT;
