"""Evidock: an open agent between police evidence devices and a digital evidence management system (DEMS).

Life of a capture, module by module, in the order in which its bytes and its record pass:

    drivers/         a device offers it, again and again          power fails: the device has it
    ingest.screening where it is to be forgotten, it is no more   nothing was written
    ingest           it is taken, once at a time                  the device has it
    spool.stage      its bytes are appended to stage/<token>      the copy continues at the last sure mark
    spool.hashing    both digests, in the pass of the bytes       computed again
    spool.sealer     forced, read back, named kept/<sha256>       stage or kept file, and no promise yet
    reading          what a film says of itself is read           kept, and offered again
    journal          `held` is committed: now it is promised      held, whatever happens
    forward          what stands held is sent; it is the queue    the journal is the queue
    uplink           part after part, from where the DEMS is      continued, after its prefix was proven ours
    custody.receipt  the DEMS signed for exactly these bytes      it is asked again
    journal          `receipted` is committed                     it is asked again
    release          the device's copy is read a second time      nothing happened to the device
    drivers/         the device forgets it                        offered again, or gone and noticed
    journal          `released`; by policy, later, `purged`       a file that is left goes at the next start

Beside it: `config` and `registry` say what runs, `daemon` runs it, `station` and `cli` show it to people, `clock` and
`durable` say what this machine's time and disk are worth, `merkle` and `note` make the journal one to be checked,
`context` and `joining` keep what else is told of the world, and join it to captures by device and time,
`listening` is where devices knock that push, `mqtt` the one door to brokers, `broker`
what the station says and hears at the agency's own.
"""
