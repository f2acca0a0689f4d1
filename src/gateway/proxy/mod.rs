//! The proxy: snapshots, router, balancer, forwarding.
