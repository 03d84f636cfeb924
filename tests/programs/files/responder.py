"""A small responder of multicast DNS (RFC 6762) and SSDP (UPnP Device Architecture).

It answers for NAME.local, and as NAME, from wherever the kernel lets it. An interface
that is named here is the one whose groups it joins.
"""

import select
import socket
import struct
import sys

NAME, LINK = sys.argv[1], socket.if_nametoindex(sys.argv[2])
MDNS, SSDP = 5353, 1900


def member(family, port, group):
    """A socket at the wildcard that hears a group and lets others have the port too."""
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        joined = socket.inet_pton(family, group) + struct.pack("@I", LINK)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, joined)
    else:
        joined = socket.inet_aton(group) + struct.pack("@4si", bytes(4), LINK)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
    made.bind(("", port))
    return made


def mdns(query, sender, group, own):
    """Answers a question for the name: to the sender, or to all if it is one of them."""
    name = bytes([len(NAME)]) + NAME.encode() + b"\x05local\0"
    if query[2:4] != b"\0\0" or query[12 : 12 + len(name)] != name:
        return
    record = name + struct.pack("!HHIH4s", 1, 1, 10, 4, bytes([192, 0, 2, 99]))
    is_one = sender[1] == MDNS
    # A resolver of another kind wants its id and its question back.
    header = struct.pack("!2s5H", bytes(2) if is_one else query[:2], 0x8400, not is_one, 1, 0, 0)
    question = b"" if is_one else query[12 : 16 + len(name)]
    own.sendto(header + question + record, group if is_one else sender)


def ssdp(query, sender, _, own):
    """Answers a search, as a device does."""
    if query.startswith(b"M-SEARCH "):
        answer = f"HTTP/1.1 200 OK\r\nST: ssdp:all\r\nUSN: uuid:{NAME}\r\n\r\n"
        own.sendto(answer.encode(), sender)


members = {}
for family, port, group, answer in [
    (socket.AF_INET, MDNS, "224.0.0.251", mdns),
    (socket.AF_INET, SSDP, "239.255.255.250", ssdp),
    (socket.AF_INET6, MDNS, "ff02::fb", mdns),
    (socket.AF_INET6, SSDP, "ff02::c", ssdp),
]:
    to = (group, port) if family == socket.AF_INET else (group, port, 0, LINK)
    members[member(family, port, group)] = (to, answer)

while True:
    for own in select.select(members, [], [])[0]:
        query, sender = own.recvfrom(2048)
        group, answer = members[own]
        answer(query, sender, group, own)
