"""A sans-I/O SPDY/3.1 codec, as much as remotecommand uses."""
