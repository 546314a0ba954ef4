//! Classical reconstruction of coded snapshots: GAP-TV over any linear operator.
