// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Steers what Freeway serves to its AF_XDP sockets; everything else goes on to Linux.
//
//   frame ──► whole interface? ── yes ──────────────────────────────► socket of this queue
//                  │ no
//                  ▼
//             up to two tags ─► ARP about, NDP for an own address ──► socket
//                               IP to an own address ───────────────► socket
//                               IP to a shared address:
//                                 TCP, UDP to a served port,
//                                 or to a port for active opens ────► socket
//                                 ICMP error about such a flow ─────► socket
//                                 later fragment of such a datagram ► socket
//                               anything else ──────────────────────► Linux
//
// An own address is Freeway's alone: Linux does not have it. A shared address is one that Linux has: it keeps ARP,
// neighbour discovery, ICMP and every port that is not served.
//
// Where no socket is bound to the queue (Freeway is starting, or gone), the frame goes to Linux.
//
// `cargo xtask xdp` compiles this file to freeway.o and compares. Maps are written by src/program.rs, whose keys and
// values have the layouts below. Sources: RFC 791, 826, 792, 4443, 4861, 8200; Documentation/bpf of Linux.

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_QINQ 0x88a8

#define PROTO_HOPOPTS 0
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_AH 51
#define PROTO_ICMPV6 58
#define PROTO_DSTOPTS 60

#define TAGS_MAX 2
#define EXTENSIONS_MAX 6

// IPv4 fragment field: more fragments, and the offset.
#define IPV4_MORE 0x2000
#define IPV4_OFFSET 0x1fff
// IPv6 fragment field: the offset, and more fragments.
#define IPV6_OFFSET 0xfff8
#define IPV6_MORE 0x0001

// ---- what src/program.rs writes and reads --------------------------------------------------------------------------

// An address of either version; IPv4 as ::ffff:a.b.c.d.
struct ip {
    __u8 bytes[16];
};

#define MODE_OWN 1
#define MODE_SHARED 2

struct address {
    __u16 mode;
    // The VLAN it is in; 0 is none.
    __u16 vlan;
    // Ports, first and last, from which Freeway opens connections. 0 to 0 is none. Shared addresses only.
    __u16 opens_first;
    __u16 opens_last;
};

struct service {
    struct ip ip;
    __u16 port;
    __u8 protocol;
    __u8 zero;
};

struct datagram {
    struct ip src;
    struct ip dst;
    __u32 ident;
    __u32 protocol;
};

enum verdict {
    PASSED,
    PASSED_NO_SOCKET,
    PASSED_MALFORMED,
    TO_WHOLE_INTERFACE,
    TO_OWN_ADDRESS,
    TO_OWN_NEIGHBOUR,
    TO_SERVICE,
    TO_OPEN,
    TO_FRAGMENT,
    TO_ICMP_ERROR,
    VERDICTS,
};

struct settings {
    // Not zero: every frame of the interface is Freeway's.
    __u32 whole_interface;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct settings);
} settings SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);
    __type(key, struct ip);
    __type(value, struct address);
} addresses SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4096);
    __type(key, struct service);
    __type(value, __u32);
} services SEC(".maps");

// Datagrams in fragments whose first fragment was served.
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, struct datagram);
    __type(value, __u32);
} fragments SEC(".maps");

// The socket of each receive queue.
struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, 256);
    __type(key, __u32);
    __type(value, __u32);
} sockets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, VERDICTS);
    __type(key, __u32);
    __type(value, __u64);
} verdicts SEC(".maps");

// ---- the frame -----------------------------------------------------------------------------------------------------

struct ethernet {
    __u8 dst[6];
    __u8 src[6];
    __be16 type;
} __attribute__((packed, aligned(2)));

struct tag {
    __be16 control;
    __be16 type;
} __attribute__((packed, aligned(2)));

// RFC 826, for Ethernet and IPv4.
struct arp {
    __be16 hardware;
    __be16 protocol;
    __u8 hardware_len;
    __u8 protocol_len;
    __be16 operation;
    __u8 sender_mac[6];
    __u8 sender[4];
    __u8 target_mac[6];
    __u8 target[4];
} __attribute__((packed, aligned(2)));

struct ipv4 {
    __u8 version_len;
    __u8 tos;
    __be16 total_len;
    __be16 ident;
    __be16 fragment;
    __u8 ttl;
    __u8 protocol;
    __be16 sum;
    __u8 src[4];
    __u8 dst[4];
} __attribute__((packed, aligned(2)));

struct ipv6 {
    __be32 version_class_flow;
    __be16 payload_len;
    __u8 next;
    __u8 hops;
    struct ip src;
    struct ip dst;
} __attribute__((packed, aligned(2)));

struct extension {
    __u8 next;
    __u8 len;
    __be16 fragment;
    __be32 ident;
} __attribute__((packed, aligned(2)));

struct ports {
    __be16 src;
    __be16 dst;
} __attribute__((packed, aligned(2)));

struct icmp {
    __u8 type;
    __u8 code;
    __be16 sum;
    __be32 rest;
} __attribute__((packed, aligned(2)));

// Whether the frame is too short for what `view` points to. The verifier understands this form alone: a pointer
// before, the comparison, then the use.
#define IS_SHORT(view, end) ((void *)((view) + 1) > (end))

static __always_inline struct ip mapped(const __u8 v4[4])
{
    struct ip ip = {.bytes = {[10] = 0xff, [11] = 0xff, [12] = v4[0], [13] = v4[1], [14] = v4[2], [15] = v4[3]}};
    return ip;
}

static __always_inline int same(const struct ip *a, const struct ip *b)
{
    int different = 0;
#pragma unroll
    for (int i = 0; i < 16; i++)
        different |= a->bytes[i] ^ b->bytes[i];
    return !different;
}

// The address's entry, if it is in this VLAN.
static __always_inline struct address *find(const struct ip *ip, __u16 vlan)
{
    struct address *address = bpf_map_lookup_elem(&addresses, ip);
    return address && address->vlan == vlan ? address : 0;
}

static __always_inline int is_own(const struct ip *ip, __u16 vlan)
{
    struct address *address = find(ip, vlan);
    return address && address->mode == MODE_OWN;
}

// Whether Freeway has `port` of the shared address `ip`.
static __always_inline enum verdict served(struct address *address, const struct ip *ip, __u8 protocol, __be16 port)
{
    __u16 number = bpf_ntohs(port);
    if (number && address->opens_first <= number && number <= address->opens_last)
        return TO_OPEN;
    struct service key = {.ip = *ip, .port = number, .protocol = protocol};
    return bpf_map_lookup_elem(&services, &key) ? TO_SERVICE : PASSED;
}

// What follows the IP header of a packet to a shared address.
struct rest {
    struct address *address;
    const struct ip *src;
    const struct ip *dst;
    // What all fragments of a datagram have in common.
    __u32 ident;
    __u32 fragment_protocol;
    __u8 protocol;
    // Of a datagram in fragments: not its first one; not its last one.
    __u8 is_later;
    __u8 has_more;
};

static __always_inline enum verdict transport(const struct rest *rest, void *at, void *end)
{
    struct datagram key = {
        .src = *rest->src, .dst = *rest->dst, .ident = rest->ident, .protocol = rest->fragment_protocol};
    if (rest->is_later)
        return bpf_map_lookup_elem(&fragments, &key) ? TO_FRAGMENT : PASSED;
    if (rest->protocol != PROTO_TCP && rest->protocol != PROTO_UDP)
        return PASSED;
    struct ports *ports = at;
    if (IS_SHORT(ports, end))
        return PASSED_MALFORMED;
    enum verdict verdict = served(rest->address, rest->dst, rest->protocol, ports->dst);
    if (verdict != PASSED && rest->has_more) {
        __u32 one = 1;
        bpf_map_update_elem(&fragments, &key, &one, BPF_ANY);
    }
    return verdict;
}

// An ICMP error is Freeway's if the packet it quotes came from a port of Freeway's.
static __always_inline enum verdict quoted(struct address *address, const struct ip *ip, __u8 protocol, void *at,
                                           void *end)
{
    struct ports *ports = at;
    if (IS_SHORT(ports, end) || (protocol != PROTO_TCP && protocol != PROTO_UDP))
        return PASSED;
    return served(address, ip, protocol, ports->src) == PASSED ? PASSED : TO_ICMP_ERROR;
}

static __always_inline enum verdict icmpv4(struct address *address, const struct ip *dst, void *at, void *end)
{
    struct icmp *icmp = at;
    // RFC 792: destination unreachable, time exceeded, parameter problem.
    if (IS_SHORT(icmp, end) || (icmp->type != 3 && icmp->type != 11 && icmp->type != 12))
        return PASSED;
    struct ipv4 *inner = (void *)(icmp + 1);
    if (IS_SHORT(inner, end) || inner->version_len >> 4 != 4 || inner->fragment & bpf_htons(IPV4_OFFSET))
        return PASSED;
    struct ip from = mapped(inner->src);
    if (!same(&from, dst))
        return PASSED;
    return quoted(address, dst, inner->protocol, (void *)inner + (inner->version_len & 15) * 4, end);
}

static __always_inline enum verdict icmpv6(struct address *address, const struct ip *dst, void *at, void *end)
{
    struct icmp *icmp = at;
    // RFC 4443: destination unreachable, packet too big, time exceeded, parameter problem.
    if (IS_SHORT(icmp, end) || icmp->type < 1 || icmp->type > 4)
        return PASSED;
    struct ipv6 *inner = (void *)(icmp + 1);
    if (IS_SHORT(inner, end) || !same(&inner->src, dst))
        return PASSED;
    return quoted(address, dst, inner->next, inner + 1, end);
}

static __always_inline enum verdict arp(void *at, void *end, __u16 vlan)
{
    struct arp *arp = at;
    if (IS_SHORT(arp, end))
        return PASSED_MALFORMED;
    if (arp->protocol != bpf_htons(ETHERTYPE_IPV4) || arp->hardware_len != 6 || arp->protocol_len != 4)
        return PASSED;
    // What asks for an own address, answers it, or claims it (RFC 5227).
    struct ip target = mapped(arp->target), sender = mapped(arp->sender);
    return is_own(&target, vlan) || is_own(&sender, vlan) ? TO_OWN_NEIGHBOUR : PASSED;
}

static __always_inline enum verdict ipv4(void *at, void *end, __u16 vlan)
{
    struct ipv4 *ip = at;
    if (IS_SHORT(ip, end) || ip->version_len >> 4 != 4 || (ip->version_len & 15) < 5)
        return PASSED_MALFORMED;
    struct ip src = mapped(ip->src), dst = mapped(ip->dst);
    struct address *address = find(&dst, vlan);
    if (!address)
        return PASSED;
    if (address->mode == MODE_OWN)
        return TO_OWN_ADDRESS;
    void *next = at + (ip->version_len & 15) * 4;
    struct rest rest = {
        .address = address,
        .src = &src,
        .dst = &dst,
        .ident = ip->ident,
        .fragment_protocol = ip->protocol,
        .protocol = ip->protocol,
        .is_later = (ip->fragment & bpf_htons(IPV4_OFFSET)) != 0,
        .has_more = (ip->fragment & bpf_htons(IPV4_MORE)) != 0,
    };
    if (rest.protocol == PROTO_ICMP && !rest.is_later)
        return icmpv4(address, &dst, next, end);
    return transport(&rest, next, end);
}

// RFC 4861, sections 4.3 and 4.4: the target of a neighbour solicitation or advertisement.
static __always_inline enum verdict ndp(void *at, void *end, __u16 vlan)
{
    struct icmp *icmp = at;
    if (IS_SHORT(icmp, end) || (icmp->type != 135 && icmp->type != 136))
        return PASSED;
    struct ip *target = (void *)(icmp + 1);
    if (IS_SHORT(target, end))
        return PASSED;
    struct ip key = *target;
    return is_own(&key, vlan) ? TO_OWN_NEIGHBOUR : PASSED;
}

static __always_inline enum verdict ipv6(void *at, void *end, __u16 vlan)
{
    struct ipv6 *ip = at;
    if (IS_SHORT(ip, end))
        return PASSED_MALFORMED;
    struct ip src = ip->src, dst = ip->dst;
    void *next = ip + 1;
    // Neighbours ask by multicast, of hosts and groups that are in no map.
    if (dst.bytes[0] == 0xff)
        return ip->next == PROTO_ICMPV6 ? ndp(next, end, vlan) : PASSED;
    struct address *address = find(&dst, vlan);
    if (!address)
        return PASSED;
    if (address->mode == MODE_OWN)
        return TO_OWN_ADDRESS;
    struct rest rest = {.address = address, .src = &src, .dst = &dst, .protocol = ip->next};
    // RFC 8200, section 4.1: extension headers, in whatever order they come.
#pragma unroll
    for (int i = 0; i < EXTENSIONS_MAX; i++) {
        if (rest.protocol != PROTO_HOPOPTS && rest.protocol != PROTO_ROUTING && rest.protocol != PROTO_DSTOPTS &&
            rest.protocol != PROTO_FRAGMENT && rest.protocol != PROTO_AH)
            break;
        struct extension *extension = next;
        if (IS_SHORT(extension, end))
            return PASSED_MALFORMED;
        __u32 len = (extension->len + 1) * 8;
        if (rest.protocol == PROTO_FRAGMENT) {
            len = 8;
            rest.ident = extension->ident;
            // RFC 8200, section 4.5: all fragments name the same protocol here.
            rest.fragment_protocol = extension->next;
            rest.is_later = (extension->fragment & bpf_htons(IPV6_OFFSET)) != 0;
            rest.has_more = (extension->fragment & bpf_htons(IPV6_MORE)) != 0;
        } else if (rest.protocol == PROTO_AH) {
            // RFC 4302, section 2.2: in words of four bytes, less two.
            len = (extension->len + 2) * 4;
        }
        rest.protocol = extension->next;
        next += len;
        if (rest.is_later)
            break;
    }
    if (rest.protocol == PROTO_ICMPV6 && !rest.is_later)
        return icmpv6(address, &dst, next, end);
    return transport(&rest, next, end);
}

static __always_inline enum verdict frame(void *at, void *end)
{
    struct ethernet *ethernet = at;
    if (IS_SHORT(ethernet, end))
        return PASSED_MALFORMED;
    __be16 type = ethernet->type;
    __u16 vlan = 0;
    at = ethernet + 1;
    // IEEE 802.1Q: the provider's tag, the customer's. The last one says which VLAN it is.
#pragma unroll
    for (int i = 0; i < TAGS_MAX; i++) {
        if (type != bpf_htons(ETHERTYPE_VLAN) && type != bpf_htons(ETHERTYPE_QINQ))
            break;
        struct tag *tag = at;
        if (IS_SHORT(tag, end))
            return PASSED_MALFORMED;
        vlan = bpf_ntohs(tag->control) & 0x0fff;
        type = tag->type;
        at = tag + 1;
    }
    switch (type) {
    case bpf_htons(ETHERTYPE_ARP):
        return arp(at, end, vlan);
    case bpf_htons(ETHERTYPE_IPV4):
        return ipv4(at, end, vlan);
    case bpf_htons(ETHERTYPE_IPV6):
        return ipv6(at, end, vlan);
    }
    return PASSED;
}

static __always_inline int steer(struct xdp_md *context)
{
    __u32 zero = 0;
    struct settings *set = bpf_map_lookup_elem(&settings, &zero);
    __u32 verdict = set && set->whole_interface
                        ? TO_WHOLE_INTERFACE
                        : frame((void *)(long)context->data, (void *)(long)context->data_end);
    int action = XDP_PASS;
    if (verdict > PASSED_MALFORMED) {
        action = bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);
        if (action != XDP_REDIRECT)
            verdict = PASSED_NO_SOCKET;
    }
    __u64 *count = bpf_map_lookup_elem(&verdicts, &verdict);
    if (count)
        *count += 1;
    return action;
}

SEC("xdp")
int freeway(struct xdp_md *context)
{
    return steer(context);
}

// The same for frames in several buffers: headers lie in the first one.
SEC("xdp.frags")
int freeway_frags(struct xdp_md *context)
{
    return steer(context);
}

char _license[] SEC("license") = "Dual MIT/GPL";
