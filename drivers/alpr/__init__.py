"""Number plate readers: what cameras of many makers tell, as one kind of read.

In the order in which a message passes:

receiver, reception, door    the listener for everything that pushes; who sent a request, and what it is answered
queue, beanstalk             a Rekor Scout agent's beanstalkd tube
broker                       what comes over MQTT
gaps                         a Hikvision camera's own list, for what the camera could not bring
pacing                       who is too fast waits
hearing, watching            one device: its messages are read, offered and counted, and what is wrong is told
makers/                      what each maker's message says
read                         the canonical read, after ONVIF's LicensePlateInfo
message, container, offer    the device's own bytes, what is cut out of them, and the capture that is made of a read
unparsed                     what cannot be read
hotlist/                     the screen: what of all that is kept

A **read** is one plate seen once by one camera. Every read is offered; a screen that the family registers decides in
memory, before anything of it is opened, whether it becomes a capture. No plate stands in a key, a claim, a log line or
an error.
"""
