"""What tests of archsmith and of third-party methods share: conformance suites, toy problems, fakes."""
