"""Stand-ins for the image hosts: real servers on loopback, written from the hosts' documentation."""
