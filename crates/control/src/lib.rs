//! Configuration, budgets and reports of a running Freeway.
