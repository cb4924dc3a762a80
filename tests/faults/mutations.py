"""What is taken out of a copy of the program on purpose, one at a time, and the test of the lab that must turn red."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One line less, or in another place."""

    what: str
    file: str
    old: str
    new: str
    test: str
    """An argument for pytest: what must fail."""


ORDER = "tests/faults/test_order.py::test_each_promise_comes_after_what_it_rests_on[1000-1]"
ORDER_OF_MANY = "tests/faults/test_order.py::test_each_promise_comes_after_what_it_rests_on[1000-60]"
MUTATIONS = (
    Mutation(
        "one fsync: a capture's bytes",
        "agent/spool/sealer.py",
        "lambda item: durable.force(item.fd)",
        "lambda item: None",
        ORDER,
    ),
    Mutation(
        "the forcing of many captures together",
        "agent/spool/sealer.py",
        "durable.force_all(self._stage_fd)",
        "self._stage_fd + 0",
        ORDER_OF_MANY,
    ),
    Mutation(
        "one fsync: the folder of a deletion",
        "agent/releaser.py",
        "durable.force_folder(folder)",
        "folder + 0",
        ORDER,
    ),
    Mutation(
        "the journal's fsync",
        "agent/journal/database.py",
        'connection.pragma("synchronous", "full")',
        'connection.pragma("synchronous", "off")',
        ORDER,
    ),
    Mutation(
        "one rename order: folders forced before the name is given",
        "agent/spool/sealer.py",
        """        for item in batch:
            self._try(item, self._rename, "naming a capture")
        self._force_folders(batch)
""",
        """        self._force_folders(batch)
        for item in batch:
            self._try(item, self._rename, "naming a capture")
""",
        ORDER,
    ),
    Mutation(
        "one receipt check: the signature, before a capture stands receipted",
        "agent/forward/belief.py",
        "        check_receipt(\n",
        "        (lambda *_, **__: None)(\n",
        "tests/faults/test_dems.py::test_what_is_held_stays_held_until_it_is_proven[receipt:wrong-signature-thread]",
    ),
    Mutation(
        "the place in a kept file from which a thread sends",
        "agent/spool/leaving.py",
        "os.preadv(fd, [room], self._at, os.RWF_NOWAIT)",
        "os.preadv(fd, [room], self._at // 2, os.RWF_NOWAIT)",
        "tests/faults/test_dems.py::test_what_is_held_stays_held_until_it_is_proven[*:*:503-thread]",
    ),
    Mutation(
        "one second reading: what it found is not compared",
        "agent/release/room.py",
        "        if again != holding.digest:\n",
        "        if again is None:\n",
        "tests/faults/test_device_bits.py::test_a_bit_of_the_device_that_reads_differently_the_second_time",
    ),
    Mutation(
        "the other second reading, of the program that deletes",
        "agent/releaser.py",
        "        if total.digest() != digest or length != wanted.length:\n",
        "        if length != wanted.length:\n",
        "tests/releaser/test_releaser.py::test_bytes_that_read_differently_stay",
    ),
    Mutation(
        "a leaf is not compared with its hash",
        "agent/journal/leaves.py",
        "            if stored.get(seq, hashed) != hashed:\n",
        "            if seq < 0:\n",
        "tests/faults/test_journal_bits.py::test_a_leaf_that_the_disk_changed_after_the_last_full_tile_does_not_start",
    ),
)
