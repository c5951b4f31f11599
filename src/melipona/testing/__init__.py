"""What tests need: conformance suites, stubs, real boxes and whole hives. Shipped, so that later drivers use it too."""
