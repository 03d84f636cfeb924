"""Tells callers their address and its own."""

import socket

with socket.create_server(("", 8080), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    while True:
        connection, peer = server.accept()
        with connection:
            own = connection.getsockname()
            connection.sendall(f"{peer[0]} asked {own[0]}\n".encode())
