"""Apple's own tests, those inside the coremltools wheel, run against `requant.runtime` on any machine."""
