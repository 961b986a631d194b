"""One BLAS thread for all tests: their nets are tiny, and two threads are slower, above all on a busy machine.

Hypothesis profiles: `HYPOTHESIS_PROFILE=nightly pytest` draws twenty times as many cases, new ones every time.

The default profile draws the same cases in every run, so a red test stays red. No profile looks at the clock.
"""

import os

import numpy as np  # noqa: F401  (its BLAS must be there to be limited)
import threadpoolctl
from hypothesis import HealthCheck, settings

threadpoolctl.threadpool_limits(limits=1, user_api="blas")

CALM = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=100, derandomize=True, **CALM)
settings.register_profile("nightly", max_examples=2000, derandomize=False, print_blob=True, **CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
