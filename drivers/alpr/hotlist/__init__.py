"""Hotlists: the plates that are looked for, and what becomes of a read that is, or is not, among them.

A read is offered by a receiver (`drivers.alpr`), and this driver is the screen that it is held against. In its order:

    layouts     a list's file, read by a declaration of its columns
    building    the file becomes an index, in a process of its own, beside the one that is in use
    manifest    whose list it is, how old, how long: signed
    shelf       the new index takes the old one's place, or does not, and why
    matching    a read against the indexes: which rule, how sure
    screen      passed by without a trace, or a hit, which is a capture of its own
"""
