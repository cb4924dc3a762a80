-- What lies in the spool, by its name there. Frozen: a later change is a file of its own beside this one.

-- Each start goes along kept/ and this index side by side: a hundred thousand captures in the spool, and ten million
-- that have left it, cost a second.
CREATE INDEX capture_spooled ON capture (sha256, length) WHERE spooled = 1;
