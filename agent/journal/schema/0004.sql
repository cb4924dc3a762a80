-- Clips of one recording. Frozen: a later change is a file of its own beside this one.

ALTER TABLE capture ADD COLUMN clip INTEGER;  -- which clip of its recording, where the device counts them
CREATE INDEX capture_grouping ON capture (device, grouping) WHERE grouping IS NOT NULL;
