# Asks a server for the IPv4 address of x.test over TCP, by a socket that it does not
# bind.
import socket
import struct
import sys

HEADER = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
QUESTION = b"\x01x\x04test\x00\x00\x01\x00\x01"

with socket.create_connection((sys.argv[1], 5300), timeout=30) as client:
    client.sendall(struct.pack("!H", len(HEADER + QUESTION)) + HEADER + QUESTION)
    (length,) = struct.unpack("!H", client.recv(2, socket.MSG_WAITALL))
    print(socket.inet_ntoa(client.recv(length, socket.MSG_WAITALL)[-4:]))
