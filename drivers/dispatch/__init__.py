"""What dispatch and call-takers tell: which unit was on which incident, and the documents of NG9-1-1 calls.

door      who may come in over HTTPS, and how much at once
folder    files that somebody drops, read and never changed
cad       intervals of units on incidents: observations, and no captures
ng911     EIDO, PIDF-LO and log events: each document a capture of its own, and what it says as observations
"""
