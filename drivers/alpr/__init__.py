"""Number plate readers: what cameras of many makers tell, as one kind of read.

read          the canonical read, after ONVIF's LicensePlateInfo        makers/    what each maker's message says
message       the device's own bytes, and what is cut out of them       container  the capture made of a read
offer         what `take` is given                                      door       who may come in
receiver      the listener for everything that pushes                   gaps       what a camera is asked for afterwards
queue         Rekor Scout's beanstalkd tube                             broker     what comes over MQTT

A **read** is one plate seen once by one camera. Every read is offered; a screen that the family registers decides in
memory, before anything of it is opened, whether it becomes a capture. No plate stands in a key, a claim, a log line or
an error.
"""
