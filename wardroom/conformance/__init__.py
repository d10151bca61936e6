"""The conformance kit: checks that an adapter of any framework must pass against a real Wardroom.

    def harness(run: Run) -> list[str]:
        '''Let an agent make `run.calls`, gated by the adapter. Return the result of each as the model read it.'''

    check_all(Kit(harness, url=URL, key=KEY))

It raises an ExceptionGroup of AssertionErrors, each with the rule that does not hold. It needs no test runner. The key
needs the scopes `approvals:ask`, `approvals:read`, `approvals:decide`, `sessions:read` and `sessions:write`.
"""

from wardroom.conformance.checks import CHECKS, check_all
from wardroom.conformance.kit import Harness, Kit, Run

__all__ = ["CHECKS", "Harness", "Kit", "Run", "check_all"]
