"""What is given to others: wheel, source archive, Debian package, bill of materials, sums. The same bytes each time.

parts    what the product consists of: its distributions and what the lock says of them
bill     the bill of materials (CycloneDX)
tree     the environment below /opt/evidock, and everything around it
deb      the Debian package
"""
