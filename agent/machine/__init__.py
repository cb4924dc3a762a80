"""What this machine tells of itself, read from where the kernel tells it: disks, time, USB tree, serial lines.

Everything here is a look: it changes nothing, needs no rights beyond those to read, and says so where it may not look.
"""
