"""The host protocol's bytes in UDP datagrams over gigabit Ethernet: MAC, ARP, ICMP echo, IPv4 and UDP.

Every component but the PHY's runs in one clock domain, called sync; `psahw.boards.link.udp_link` puts them into theirs. All move
a byte a cycle, 125 million a second (IEEE 802.3, clause 35).
"""
