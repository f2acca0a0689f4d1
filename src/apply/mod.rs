//! Running a plan against a control plane: order, concurrency, events.
