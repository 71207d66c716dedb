//! A core's memory: arena, packet pool, bursts, rings.
