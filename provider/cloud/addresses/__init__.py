"""vSwitch address pools: pure."""
