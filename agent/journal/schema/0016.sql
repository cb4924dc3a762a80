-- Uploads that are announced and wait. Frozen: a later change is a file of its own beside this one.

-- When its receiver must be asked to keep the place of an upload (microseconds since 1970); none: it said no time.
ALTER TABLE upload ADD COLUMN renew_at INTEGER;
CREATE INDEX upload_renewal ON upload (destination, renew_at) WHERE renew_at IS NOT NULL;
