"""What authors of drivers and uplinks test with: a bench device, a station, an emulated DEMS, two conformance suites.

    devices              a device whose wire fails where a short string says so
    uplinks              a destination without a network
    station              one station in this process, from the device to the receipt
    process              the real daemon as a process of its own, to be killed
    audit                what must be true of a station at any moment
    conformance          the nine sentences of `agent.driver`, for any driver
    observing            the contract of drivers that only tell of the world
    uplink_conformance   the same for any uplink
    dems                 an emulated DEMS
    ports                a port that nobody else is given, for a program that must be told its own
    plugin               the fixtures `station`, `dems` and `bench`

Nothing that runs on a station imports anything from here.
"""
