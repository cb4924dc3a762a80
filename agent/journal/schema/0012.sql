-- What of the contexts of captures was told to destinations. Frozen: a later change is a file of its own beside this one.

CREATE INDEX context_seq ON context (seq);
