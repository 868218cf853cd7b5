"""The label side (标签流): what users did, merged by request and item."""
