"""A UDP endpoint on gigabit Ethernet: MAC, ARP, ICMP echo, IPv4 and UDP.

All components except that of the PHY's pins run in one clock domain, called sync;
`psahw.boards.link.udp_link` renames it. They move one byte per clock cycle, 125 million per second
(IEEE 802.3, clause 35).
"""
