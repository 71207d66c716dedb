//! One core's whole host: interfaces, neighbours, routes, UDP and TCP.
