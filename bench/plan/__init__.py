"""From a suite to the ordered cases: axes, settings, margins, estimates."""
