"""Answers questions for names at 127.0.0.53, to its own host alone."""

import socket

ADDRESS = socket.inet_aton("192.0.2.99")
HEADER = 12
TYPE_A = b"\x00\x01"

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.53", 53))
    print("ready", flush=True)
    while True:
        query, peer = server.recvfrom(512)
        print("asked from", peer[0], flush=True)
        if not peer[0].startswith("127."):
            continue
        end = query.index(0, HEADER) + 5
        answer = b""
        if query[end - 4 : end - 2] == TYPE_A:
            answer = b"\xc0\x0c" + query[end - 4 : end] + bytes(4) + b"\x00\x04" + ADDRESS
        count = bytes([0, 1 if answer else 0])
        server.sendto(
            query[:2] + b"\x81\x80" + query[4:6] + count + bytes(4) + query[HEADER:end] + answer,
            peer,
        )
