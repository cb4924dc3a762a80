-- Parts of one origin. Frozen: a later change is a file of its own beside this one.

-- When a capture is held, the parts of its origin are looked at: what is its beginning need not lie there twice.
CREATE INDEX part_origin ON part (origin) WHERE origin IS NOT NULL;
