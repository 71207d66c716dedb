//! What the IP host counts. Every frame that is dropped is counted under its reason, once.

freeway_base::counters! {
    /// The IP host's counters.
    pub struct NetCounters {
        /// Frames that came in.
        frames_in,
        /// Frames queued for a port.
        frames_out,
        /// IPv4 packets that came in whole, reassembled ones included, for this host.
        ipv4_in,
        /// IPv6 packets that came in whole, reassembled ones included, for this host.
        ipv6_in,
        /// ARP packets that came in.
        arp_in,
        /// Neighbour and router discovery messages that came in and were valid.
        ndp_in,
        /// Echo requests answered.
        echo_replies,
        /// ICMP errors sent.
        errors_out,
        /// ICMP errors received about packets of ours.
        errors_in,
        /// Datagrams put together from fragments.
        reassembled,
        /// Datagrams sent as fragments.
        fragmented,
        /// Fragments sent.
        fragments_out,
        /// ARP requests and neighbour solicitations sent.
        solicitations_out,
        /// Paths found to carry less than was known before.
        paths_narrowed,
        /// Other hosts found using an address of ours.
        address_conflicts,

        /// Frames for an interface that there is not.
        dropped_no_interface,
        /// Frames shorter than their headers.
        dropped_truncated,
        /// Frames for another station, or a group that this host is not in.
        dropped_other_mac,
        /// Frames without the interface's VLAN tag, or with another one.
        dropped_vlan,
        /// Frames that are neither IP nor ARP.
        dropped_ethertype,
        /// ARP packets that make no sense.
        dropped_arp,
        /// IP packets of another version than their frame says.
        dropped_version,
        /// IP packets whose lengths contradict each other or the frame.
        dropped_length,
        /// IPv4 headers with a wrong sum.
        dropped_ip_checksum,
        /// IPv4 options or IPv6 extension headers that make no sense.
        dropped_options,
        /// Packets with a source route.
        dropped_source_route,
        /// Source or destination addresses that cannot be on a wire: loopback, a group as source, zero.
        dropped_martian,
        /// Packets from outside with this host's own address as source.
        dropped_own_source,
        /// Packets to another host.
        dropped_not_local,
        /// Packets to one host in a frame to all of them (RFC 1122, section 3.3.6).
        dropped_link_broadcast,
        /// Transport protocols that this host does not speak.
        dropped_protocol,
        /// ICMP messages with a wrong sum, or cut short.
        dropped_icmp,
        /// ICMP messages of kinds that need no answer from a host.
        ignored_icmp,
        /// ICMP errors that quote no packet of ours.
        dropped_icmp_quote,
        /// Echo requests to a group, which are not answered (RFC 1122, section 3.2.2.6).
        dropped_echo_group,
        /// Echo requests above the rate that is answered.
        limited_echoes,
        /// ICMP errors not sent because of the rate.
        limited_errors,
        /// Discovery messages that RFC 4861 calls invalid.
        dropped_ndp,
        /// Reports of packets too big that are not believed: no such packet is in flight, or the MTU is not less than what
        /// is known, or is less than every link carries.
        ignored_too_big,
        /// Remembered paths given up before their time, for newer ones.
        shed_paths,
        /// Redirects, which this host does not follow.
        ignored_redirects,
        /// Fragments with impossible offsets or lengths.
        dropped_fragment,
        /// Datagrams whose fragments overlap (RFC 5722).
        dropped_overlap,
        /// Fragments that had arrived already.
        dropped_duplicate,
        /// Datagrams of which some fragments never came.
        dropped_reassembly_timeout,
        /// Datagrams given up for newer ones, or because their fragments were too many.
        dropped_reassembly_shed,
        /// Fragments for which there was no buffer.
        dropped_reassembly_no_buffer,

        /// Packets to where no route leads.
        dropped_no_route,
        /// Packets that waited for a neighbour who did not answer, or too many of them.
        dropped_unresolved,
        /// Packets too long for the link that may not be fragmented.
        dropped_too_big,
        /// Packets without room for their headers.
        dropped_no_headroom,
        /// Frames that a full transmit queue did not take.
        dropped_tx_full,
        /// Messages of the host's own for which there was no buffer.
        dropped_no_buffer,
    }
}
