"""The unit tests of the two reference systems, said again against REST, the SDK and frames. See docs/reference.md."""
