"""Tells callers their address."""

import socket

with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", 7000))
    while True:
        _, peer = server.recvfrom(64)
        server.sendto(f"{peer[0]:<50}.asked".encode(), peer)
