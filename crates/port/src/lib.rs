//! What a device looks like to a core: receive and transmit queues.
