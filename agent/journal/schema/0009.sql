-- Recordings of several captures. Frozen: a later change is a file of its own beside this one.

ALTER TABLE capture ADD COLUMN members INTEGER;  -- how many captures its recording has, as the device counted them; 0: it grows
-- What still has to be sent of a recording that was begun, in its own order.
CREATE INDEX capture_mates ON capture (device, grouping, priority, clip, held_seq) WHERE standing = 1 AND grouping IS NOT NULL;
